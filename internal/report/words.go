package report

import (
	"fmt"
	"strings"
	"unicode"
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
