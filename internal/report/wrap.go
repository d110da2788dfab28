package report

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// wrap breaks text into lines of at most width columns, at spaces where it can, and within a word where it must. SVG
// breaks no lines by itself.
func wrap(text string, width int) []string {
	width = max(width, 1)
	var lines []string
	line, used := "", 0
	for _, word := range strings.Fields(text) {
		for word != "" {
			w, room := columns(word), width-used
			if used > 0 {
				room--
			}
			switch {
			case w <= room:
				if used > 0 {
					line, used = line+" ", used+1
				}
				line, used, word = line+word, used+w, ""
			case used > 0: // it may fit into a line of its own
				lines, line, used = append(lines, line), "", 0
			default:
				head := cut(word, width)
				lines, word = append(lines, head), word[len(head):]
			}
		}
	}
	if used > 0 {
		lines = append(lines, line)
	}
	return lines
}

// cut returns the beginning of a word that fits into width columns, at least one rune of it.
func cut(word string, width int) string {
	used := 0
	for i, r := range word {
		used += column(r)
		if used > width && i > 0 {
			return word[:i]
		}
	}
	return word
}

// short returns text in at most width columns, with an ellipsis in place of what was cut off.
func short(text string, width int) string {
	if columns(text) <= width {
		return text
	}
	return cut(text, width-1) + "…"
}

// columns returns how wide text is in a font of fixed width.
func columns(text string) int {
	n := 0
	for _, r := range text {
		n += column(r)
	}
	return n
}

// column is the width of a rune; what a font of fixed width may lack counts as two.
func column(r rune) int {
	switch {
	case r < utf8.RuneSelf, unicode.In(r, unicode.Latin, unicode.Greek, unicode.Cyrillic), unicode.IsPunct(r), r == '→', r == '−':
		return 1
	}
	return 2
}

// thousands prints a number with commas: "19,993".
func thousands(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// signed prints a difference: "+19,993", "−3", "0".
func signed(n int64) string {
	switch {
	case n > 0:
		return "+" + thousands(uint64(n))
	case n < 0:
		return "−" + thousands(-uint64(n))
	}
	return "0"
}

// packets prints a number of them: "1 packet".
func packets(n uint64) string {
	if n == 1 {
		return "1 packet"
	}
	return thousands(n) + " packets"
}
