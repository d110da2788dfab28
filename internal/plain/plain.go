// Package plain makes text harmless that others may have chosen: comments of rules, log prefixes, names, payloads, the output
// of programs. A terminal would execute its escape sequences, and a reader would see it in another order than it is written.
package plain

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Text returns s with its line feeds and tabs, and with everything else that is not visible as Go writes it in a string:
// \x1b, \u202e, and \xff for a byte that is no UTF-8. These are the control characters (C0, DEL, C1), the characters that
// only format (Unicode's Cf, with those of bidirectional text) and the line and paragraph separators. No-break spaces
// become spaces. A text without any of these is returned as it is, so the Text of a Text is the same.
func Text(s string) string { return escape(s, isHidden) }

// Line is Text as one line: line feeds and tabs are \n and \t.
func Line(s string) string {
	return escape(s, func(r rune) bool { return r == '\n' || r == '\t' || isHidden(r) })
}

// IsVisible reports whether s has nothing that Line would write differently.
func IsVisible(s string) bool { return Line(s) == s }

// JSON returns an encoded JSON value in which everything that is not visible is escaped, \u202e, so that it still has the
// same value. Package encoding/json escapes only some of it.
func JSON(value []byte) []byte {
	hidden := func(r rune) bool { return isHidden(r) && r != noBreakSpace }
	if bytes.IndexFunc(value, hidden) < 0 {
		return value
	}
	var out []byte
	for _, r := range string(value) { // beyond ASCII there are only strings
		if !hidden(r) {
			out = utf8.AppendRune(out, r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			out = fmt.Appendf(out, `\u%04x`, unit)
		}
	}
	return out
}

func escape(s string, hidden func(rune) bool) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, hidden) < 0 {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case !hidden(r):
			b.WriteString(s[:size])
		case r == noBreakSpace:
			b.WriteByte(' ')
		case r == '\n' || r == '\t' || r == '\r':
			b.WriteString(map[rune]string{'\n': `\n`, '\t': `\t`, '\r': `\r`}[r])
		case r < utf8.RuneSelf:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		s = s[size:]
	}
	return b.String()
}

// noBreakSpace is in the differences of go-cmp, which puts it there at random.
const noBreakSpace = '\u00a0'

func isHidden(r rune) bool {
	return r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) || r == noBreakSpace)
}
