package report

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// class makes the name of a style of a word, and of nothing that could be two: "no answer" is "noanswer".
func class(word string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return r
		}
		return -1
	}, word)
}

// breaks divides the name of a test where a line may end: before a hump, behind a slash or an underscore.
func breaks(name string) []string {
	var out []string
	begin, before := 0, ' '
	for i, r := range name {
		if i > begin && (unicode.IsUpper(r) && unicode.IsLower(before) || before == '/' || before == '_') {
			out, begin = append(out, name[begin:i]), i
		}
		before = r
	}
	return append(out, name[begin:])
}

// piece is a part of a text behind which a line may end, and inside of which it should not.
type piece struct {
	Text  string
	Whole bool // it is short enough to be kept whole on any screen
}

// pieces divides a text behind blanks, commas and bars.
func pieces(s string) []piece {
	const whole = 24
	var out []piece
	for s != "" {
		n := len(s)
		if i := strings.IndexAny(s, " ,|"); i >= 0 {
			n = i + 1
		}
		out = append(out, piece{s[:n], utf8.RuneCountInString(s[:n]) <= whole})
		s = s[n:]
	}
	return out
}

// count prints a number that may be negative.
func count(n int64) string {
	if n < 0 {
		return signed(n)
	}
	return thousands(uint64(n))
}

// total prints the length of a list, with what was left out of it.
func total(n, more int) string { return thousands(uint64(n + max(more, 0))) }

// extras are what a flow has beside what every flow has: "mark 7, zone 2, packets 3/2".
func extras(f Flow) string {
	var s []string
	for _, c := range []struct {
		there bool
		text  string
	}{
		{f.Mark != 0, fmt.Sprintf("mark %d", f.Mark)},
		{f.Zone != 0, fmt.Sprintf("zone %d", f.Zone)},
		{f.Helper != "", "helper " + f.Helper},
		{f.Labels != "", "labels " + f.Labels},
		{f.Packets != [2]int64{}, fmt.Sprintf("packets %d/%d", f.Packets[0], f.Packets[1])},
		{f.Bytes != [2]int64{}, fmt.Sprintf("bytes %d/%d", f.Bytes[0], f.Bytes[1])},
	} {
		if c.there {
			s = append(s, c.text)
		}
	}
	return strings.Join(s, ", ")
}
