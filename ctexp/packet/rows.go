package packet

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Row is one compared field of a packet.
type Row struct {
	// Field is its name: "src", "flags", "about ttl".
	Field string
	// Want is the wanted value.
	Want string
	// Got is the value in the packet: "none" if the packet has no such field, "" if there is no packet.
	Got string
	// Differs reports that the value is not the wanted one.
	Differs bool
}

// Rows is the result of a comparison, which String prints as a table.
type Rows []Row

// absent is the Got of a field that the packet does not have.
const absent = "none"

// Add appends a row, which differs if the texts do.
func (t *Rows) Add(field, want, got string) {
	*t = append(*t, Row{field, want, got, want != got})
}

// addBytes appends a row that shows where two values begin to differ.
func (t *Rows) addBytes(field string, want, got []byte) {
	w, g := clipped(want, got)
	*t = append(*t, Row{field, w, g, !bytes.Equal(want, got)})
}

// clipped formats two values. Long ones are shown from shortly before the first difference, without their tails; values that
// are not text are in hexadecimal.
func clipped(a, b []byte) (string, string) {
	const before = 8
	maxBytes, format := 48, "%q"
	if !isText(a) || !isText(b) {
		maxBytes, format = 24, "%x"
	}
	same := 0
	for same < min(len(a), len(b)) && a[same] == b[same] {
		same++
	}
	from := 0
	if max(len(a), len(b)) > maxBytes {
		from = max(0, min(same, len(a), len(b))-before)
	}
	clip := func(b []byte) string {
		rest := b[from:]
		text := fmt.Sprintf(format, rest[:min(len(rest), maxBytes)])
		if from > 0 {
			text = fmt.Sprintf("@%d …%s", from, text)
		}
		if len(rest) > maxBytes {
			text += "…"
		}
		return strings.TrimSpace(fmt.Sprintf("%s (%d bytes)", text, len(b)))
	}
	return clip(a), clip(b)
}

// isText reports whether b is printable UTF-8.
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

// String returns the rows as a table that marks those that differ; without a packet it has only the wanted values.
func (t Rows) String() string {
	noPacket := !slices.ContainsFunc(t, func(r Row) bool { return r.Got != "" })
	rows := append(Rows{{Field: "", Want: "want", Got: "got"}}, t...)
	var field, want int
	for _, r := range rows {
		field, want = max(field, utf8.RuneCountInString(r.Field)), max(want, utf8.RuneCountInString(r.Want))
	}
	var b strings.Builder
	for _, r := range rows {
		mark := " "
		if r.Differs && !noPacket {
			mark = "≠"
		}
		if noPacket {
			r.Got = ""
		}
		line := fmt.Sprintf("%s %-*s | %-*s | %s", mark, field, r.Field, want, r.Want, r.Got)
		if noPacket {
			line = strings.TrimRight(line, " |")
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}
