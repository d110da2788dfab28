package packet

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ctexp/go-ctexp/internal/pktline"
)

// Row is one thing that was wanted of a packet, and what there was instead.
type Row struct {
	// Field is the name of what was wanted: "src", "flags", "about ttl".
	Field string
	// Want is what it should be.
	Want string
	// Got is what it is: "none" where the packet has no such thing, "" where there is no packet.
	Got string
	// Differs reports that it is not as wanted.
	Differs bool
}

// Rows are a comparison. As a text they are a table.
type Rows []Row

// absent is what a packet has that does not have such a thing at all.
const absent = "none"

// Add adds a row, which differs if the texts do.
func (t *Rows) Add(field, want, got string) {
	*t = append(*t, Row{field, want, got, want != got})
}

// addIf adds a row for something that is there or not.
func (t *Rows) addIf(there bool, field, want, got string) {
	if !there {
		got = absent
	}
	t.Add(field, want, got)
}

// addNumber adds a row for a number that is asked for.
func addNumber[T uint8 | uint16 | uint32](t *Rows, field string, want *T, got T, there bool) {
	if want != nil {
		t.addIf(there, field, fmt.Sprint(*want), fmt.Sprint(got))
	}
}

// addEndpoint adds a row for an address, a port or both.
func (t *Rows) addEndpoint(field string, want, got netip.AddrPort) {
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

// addPrefix adds a row for what an address is in.
func (t *Rows) addPrefix(field string, want netip.Prefix, got netip.Addr) {
	switch {
	case !want.IsValid():
	case want.Contains(got):
		t.Add(field, want.String(), want.String())
	default:
		t.addIf(got.IsValid(), field, want.String(), got.String())
	}
}

// addOptions adds a row for each option that is asked for, with what there is of its kind.
func (t *Rows) addOptions(prefix string, want, got []TCPOption) {
	for _, w := range want {
		has := absent
		for _, g := range got {
			if g.Kind != w.Kind {
				continue
			}
			has = pktline.Option(g.Kind, g.Data)
			if bytes.Equal(g.Data, w.Data) {
				break
			}
		}
		t.Add(prefix+"option", pktline.Option(w.Kind, w.Data), has)
	}
}

// addBytes adds a row that shows where two texts begin to differ.
func (t *Rows) addBytes(field string, want, got []byte) {
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

// Differing counts the rows that differ.
func (t Rows) Differing() int {
	n := 0
	for _, r := range t {
		if r.Differs {
			n++
		}
	}
	return n
}

// String prints the rows as columns, marking those that differ; what was wanted alone if there was nothing.
func (t Rows) String() string {
	nothing := !slices.ContainsFunc(t, func(r Row) bool { return r.Got != "" })
	rows := append(Rows{{Field: "", Want: "want", Got: "got"}}, t...)
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
