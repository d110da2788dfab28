package nf

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// words goes through a line word by word. After an error there are no more words.
type words struct {
	line int
	rest string // what comes behind word
	at   int    // offset of rest in the line
	word string // the current word, empty at the end of the line
	col  int    // its column
	err  error
}

// next steps to the next word. What stands in brackets is one word.
func (w *words) next() {
	if w.err != nil {
		return
	}
	blank := len(w.rest) - len(strings.TrimLeft(w.rest, " \t"))
	w.skip(blank)
	w.col = w.at + 1
	n := strings.IndexAny(w.rest, " \t")
	if strings.HasPrefix(w.rest, "[") {
		n = strings.IndexByte(w.rest, ']') + 1
		if n == 0 {
			w.word = w.rest
			w.fail("has no end")
			return
		}
	}
	if n < 0 {
		n = len(w.rest)
	}
	w.word = w.rest[:n]
	w.skip(n)
}

func (w *words) skip(n int) {
	w.rest = w.rest[n:]
	w.at += n
}

// fail makes the current word the error, unless there is one.
func (w *words) fail(format string, args ...any) {
	if w.err == nil {
		w.err = &ParseError{Line: w.line, Column: w.col, Word: w.word, What: fmt.Sprintf(format, args...)}
	}
	w.word, w.rest = "", ""
}

// missing makes it the error that something should have come before the current word.
func (w *words) missing(format string, args ...any) {
	w.word = ""
	w.fail(format+" missing", args...)
}

// pair cuts the current word at its equals sign.
func (w *words) pair() (key, value string, ok bool) {
	return strings.Cut(w.word, "=")
}

// number reads a number of up to so many bits, in any base that Go knows when it has a prefix.
func (w *words) number(s string, bits int) uint64 {
	n, err := strconv.ParseUint(s, 0, bits)
	if err != nil || strings.ContainsRune(s, '_') || len(s) > 1 && s[0] == '0' && s[1] != 'x' {
		w.fail("has no number of %d bits", bits)
		return 0
	}
	return n
}

// isNumber reports whether the current word consists of digits alone.
func (w *words) isNumber() bool {
	return w.word != "" && strings.Trim(w.word, "0123456789") == ""
}

func (w *words) addr(s string) netip.Addr {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Is4In6() || a.Zone() != "" {
		w.fail("has no address of IPv4 or IPv6")
	}
	return a
}
