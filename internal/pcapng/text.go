package pcapng

import (
	"strings"
	"unicode/utf8"
)

// maxText is the longest value of an option in bytes: its length has 16 bits.
const maxText = 1<<16 - 1

const ellipsis = "…"

// text makes s fit for an option: UTF-8 without a NUL, at which readers stop, and not too long.
func text(s string) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", "\uFFFD"), "\uFFFD")
	if len(s) <= maxText {
		return s
	}
	n := maxText - len(ellipsis)
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + ellipsis
}
