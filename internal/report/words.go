package report

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ctexp/go-ctexp/internal/plain"
)

// clean returns a copy of a plain value in which every string is a plain.Text.
func clean[T any](v T) T {
	cleanValue(reflect.ValueOf(&v).Elem())
	return v
}

func cleanValue(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(plain.Text(v.String()))
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				cleanValue(v.Field(i))
			}
		}
	case reflect.Slice: // do not modify the caller's slice
		if v.IsNil() {
			return
		}
		own := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(own, v)
		v.Set(own)
		for i := range v.Len() {
			cleanValue(v.Index(i))
		}
	}
}

// class converts a word to the name of a CSS class, which has only lower-case letters: "no answer" becomes
// "noanswer".
func class(word string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return r
		}
		return -1
	}, word)
}

// breaks splits the name of a test where a line may be broken: before an upper-case letter that begins a word, and
// after a slash or underscore.
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

// piece is a part of a text after which a line may be broken.
type piece struct {
	Text  string
	Whole bool // it is short enough not to be broken on any screen
}

// pieces splits a text after spaces, commas and bars.
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

// joinWords joins words with sep.
func joinWords(words []string, sep string) string { return strings.Join(words, sep) }

func familyName(f string) string {
	switch f {
	case "ipv4":
		return "IPv4"
	case "ipv6":
		return "IPv6"
	}
	return f
}

// count prints a number that may be negative.
func count(n int64) string {
	if n < 0 {
		return signed(n)
	}
	return thousands(uint64(n))
}

// total prints the length of a list including omitted items.
func total(n, more int) string { return thousands(uint64(n + max(more, 0))) }

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

// packets prints a number of packets: "1 packet".
func packets(n uint64) string {
	if n == 1 {
		return "1 packet"
	}
	return thousands(n) + " packets"
}

func was(n uint64) string {
	if n == 1 {
		return "1 packet was"
	}
	return packets(n) + " were"
}

func entries(n int) string {
	if n == 1 {
		return "1 entry"
	}
	return thousands(uint64(max(n, 0))) + " entries"
}

// since prints a time since the start of the experiment, to the microsecond: "+0.071 ms", "+2.104 s".
func since(d time.Duration) string {
	if d >= 10*time.Second || d <= -10*time.Second {
		return fmt.Sprintf("%+.3f s", d.Seconds())
	}
	return fmt.Sprintf("%+.3f ms", float64(d)/float64(time.Millisecond))
}

// took prints a duration.
func took(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%d µs", d.Microseconds())
}

// extras returns the optional attributes of a flow: "mark 7, zone 2, packets 3/2".
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

// wrap breaks text into lines of at most width columns, at spaces if possible and otherwise within a word. SVG does
// not break lines.
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

// cut returns the beginning of a word that fits into width columns, at least one rune.
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

// short returns text in at most width columns, with an ellipsis if it was truncated.
func short(text string, width int) string {
	if columns(text) <= width {
		return text
	}
	return cut(text, width-1) + "…"
}

// columns returns the width of text in a font of fixed width.
func columns(text string) int {
	n := 0
	for _, r := range text {
		n += column(r)
	}
	return n
}

// column returns the width of a rune. A rune that a font of fixed width may lack counts as two.
func column(r rune) int {
	switch {
	case r < utf8.RuneSelf, unicode.In(r, unicode.Latin, unicode.Greek, unicode.Cyrillic), unicode.IsPunct(r), r == '→', r == '−':
		return 1
	}
	return 2
}
