package inject

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/internal/pktline"
)

// table collects the rows of a comparison.
type table []Row

// absent is what a packet has that does not have such a thing at all.
const absent = "none"

func (t *table) add(field, want, got string) {
	*t = append(*t, Row{field, want, got, want != got})
}

// addIf adds a row for something that is there or not.
func (t *table) addIf(there bool, field, want, got string) {
	if !there {
		got = absent
	}
	t.add(field, want, got)
}

// addNumber adds a row for a number that is asked for.
func addNumber[T uint8 | uint16 | uint32](t *table, field string, want *T, got T, there bool) {
	if want != nil {
		t.addIf(there, field, fmt.Sprint(*want), fmt.Sprint(got))
	}
}

// addEndpoint adds a row for an address, a port or both.
func (t *table) addEndpoint(field string, want, got netip.AddrPort) {
	a := want.Addr().Unmap()
	there := got.Addr().IsValid()
	switch {
	case a.IsValid() && want.Port() != 0:
		t.addIf(there, field, netip.AddrPortFrom(a, want.Port()).String(), got.String())
	case a.IsValid():
		t.addIf(there, field, a.String(), got.Addr().String())
	case want.Port() != 0:
		t.addIf(there, field+" port", fmt.Sprint(want.Port()), fmt.Sprint(got.Port()))
	}
}

// addOptions adds a row for each option that is asked for, with what there is of its kind.
func (t *table) addOptions(prefix string, want, got []layers.TCPOption) {
	for _, w := range want {
		has := absent
		for _, g := range got {
			if g.OptionType != w.OptionType {
				continue
			}
			has = pktline.Option(g)
			if bytes.Equal(g.OptionData, w.OptionData) {
				break
			}
		}
		t.add(prefix+"option", pktline.Option(w), has)
	}
}

// addBytes adds a row that shows where two texts begin to differ.
func (t *table) addBytes(field string, want, got []byte) {
	w, g := clipped(want, got)
	*t = append(*t, Row{field, w, g, !bytes.Equal(want, got)})
}

// clipped returns both texts, long ones without what they have in common at the front and without their tails. Where they
// cannot be read they are in hexadecimal.
func clipped(a, b []byte) (string, string) {
	const before = 8
	most, format := 48, "%q"
	if !isText(a) || !isText(b) {
		most, format = 24, "%x"
	}
	same := 0
	for same < min(len(a), len(b)) && a[same] == b[same] {
		same++
	}
	from := 0
	if max(len(a), len(b)) > most {
		from = max(0, min(same, len(a), len(b))-before)
	}
	clip := func(b []byte) string {
		rest := b[from:]
		text := fmt.Sprintf(format, rest[:min(len(rest), most)])
		if from > 0 {
			text = fmt.Sprintf("@%d …%s", from, text)
		}
		if len(rest) > most {
			text += "…"
		}
		return strings.TrimSpace(fmt.Sprintf("%s (%d bytes)", text, len(b)))
	}
	return clip(a), clip(b)
}

// isText reports whether b is to be read as it stands.
func isText(b []byte) bool {
	return utf8.Valid(b) && !bytes.ContainsFunc(b, func(r rune) bool { return r < ' ' && !strings.ContainsRune("\r\n\t", r) })
}

func (d dissected) isIP() bool { return d.tuple.Src.Addr().IsValid() }

func (d dissected) protocol() string {
	if !d.isIP() {
		return absent
	}
	return d.tuple.Proto.String()
}

// differing counts the rows that differ.
func differing(rows []Row) int {
	n := 0
	for _, r := range rows {
		if r.Differs {
			n++
		}
	}
	return n
}

// String prints the rows as columns, marking those that differ; what was wanted alone if there was nothing.
func (t table) String() string {
	nothing := !slices.ContainsFunc(t, func(r Row) bool { return r.Got != "" })
	rows := append(table{{Field: "", Want: "want", Got: "got"}}, t...)
	var field, want int
	for _, r := range rows {
		field, want = max(field, utf8.RuneCountInString(r.Field)), max(want, utf8.RuneCountInString(r.Want))
	}
	var b strings.Builder
	for _, r := range rows {
		mark := " "
		if r.Differs && !nothing {
			mark = "≠"
		}
		if nothing {
			r.Got = ""
		}
		line := fmt.Sprintf("%s %-*s | %-*s | %s", mark, field, r.Field, want, r.Want, r.Got)
		if nothing {
			line = strings.TrimRight(line, " |")
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}
