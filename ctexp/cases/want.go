package cases

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Want is what is expected of a packet. The zero Want expects nothing.
type Want struct {
	Kind WantKind // which of the fields below matter
	// Verdict is what the host does with the packet, for WantVerdict.
	Verdict ctexp.Verdict
	// Link is where it leaves, for WantOut.
	Link string
	// Packet is as what it leaves, for WantOut; nil: as anything.
	Packet packet.Packet
	// Fields are the names of the fields of Packet that are compared beside protocol, addresses, ports, flags, type and code,
	// because the line says them (packet.ParseFields).
	Fields []string
	// Text is the expectation as the line has it.
	Text string
}

// WantKind is the kind of a Want.
type WantKind uint8

// The kinds of expectations.
const (
	WantNothing WantKind = iota // the line has no "=>"
	WantVerdict                 // one of the verdicts
	WantHost                    // delivered to the host
	WantOut                     // leaves on a link
)

// String returns the expectation as the line has it.
func (w Want) String() string { return w.Text }

// ParseWant reads what stands behind "=>", such as "drop" or "out eth1". The error is a *nf.ParseError.
func ParseWant(text string) (Want, error) { return parseWant(text, 0) }

// expectations are the words that begin one.
const expectations = "want accept, drop, reject, lost, held, host or out LINK"

// parseWant reads the expectation that begins at an offset of the line.
func parseWant(line string, from int) (w Want, err error) {
	w.Text = strings.TrimSpace(line[from:])
	fail := func(word, what string) (Want, error) {
		column := len(line) + 1
		if word != "" {
			column = from + strings.Index(line[from:], word) + 1
		}
		return w, &nf.ParseError{Line: 1, Column: column, Word: word, What: what}
	}
	words := strings.Fields(line[from:])
	if len(words) == 0 {
		return fail("", "missing the expectation: "+expectations)
	}
	first := words[0]
	verdicts := []ctexp.Verdict{ctexp.VerdictAccept, ctexp.VerdictDrop, ctexp.VerdictReject, ctexp.VerdictLost, ctexp.VerdictHeld}
	if i := slices.IndexFunc(verdicts, func(v ctexp.Verdict) bool { return v.String() == first }); i >= 0 {
		w.Kind, w.Verdict = WantVerdict, verdicts[i]
	} else if first == "host" {
		w.Kind = WantHost
	} else if first != "out" {
		return fail(first, "is no expectation: "+expectations)
	}
	switch {
	case w.Kind != WantNothing && len(words) > 1:
		return fail(words[1], "was not expected behind "+first)
	case w.Kind != WantNothing:
		return w, nil
	case len(words) == 1:
		return fail("", "missing the link on which the packet leaves: want out LINK or out LINK PACKET")
	}
	w.Kind, w.Link = WantOut, words[1]
	if len(words) == 2 {
		return w, nil
	}
	upTo := from + strings.Index(line[from:], "out") + len("out")
	upTo += strings.Index(line[upTo:], words[1]) + len(words[1])
	w.Packet, w.Fields, err = packet.ParseFields(blank(line, upTo))
	return w, err
}

// alwaysCompared are the fields of a packet that every expectation has.
var alwaysCompared = []string{"protocol", "src", "dst", "src port", "dst port", "flags", "type", "code", "igmp type", "group"}

// Differs returns how an outcome differs from what is expected; "" if it does not.
func (w Want) Differs(o ctexp.Outcome) string {
	got := o.Verdict()
	switch w.Kind {
	case WantVerdict:
		if got != w.Verdict {
			return fmt.Sprintf("want %v, got %v", w.Verdict, got)
		}
	case WantHost:
		if got != ctexp.VerdictAccept || !slices.Contains(o.Hooks, nf.Input) {
			return "want delivery to the host, got " + went(o)
		}
	case WantOut:
		return w.leavesOtherwise(o)
	}
	return ""
}

// leavesOtherwise returns how what left differs from what should have left.
func (w Want) leavesOtherwise(o ctexp.Outcome) string {
	nearest := ""
	left := o.Left()
	if w.Packet != nil { // an answer of the host may be what is expected
		left = o.Out
	}
	for _, s := range left {
		switch {
		case s.Link != w.Link:
			nearest = fmt.Sprintf("want it to leave on %s, got on %s", w.Link, s.Link)
		default:
			diff := w.fieldsDiffer(s.Packet)
			if diff == "" {
				return ""
			}
			nearest = diff
		}
	}
	if nearest != "" {
		return nearest
	}
	return fmt.Sprintf("want it to leave on %s, got %s", w.Link, went(o))
}

// fieldsDiffer compares the packet that left with the expected one.
func (w Want) fieldsDiffer(got packet.Packet) string {
	if w.Packet == nil {
		return ""
	}
	compared := func(p packet.Packet) []packet.Field {
		return slices.DeleteFunc(p.Fields(), func(f packet.Field) bool {
			return !slices.Contains(alwaysCompared, f.Name) && !slices.Contains(w.Fields, f.Name)
		})
	}
	want, have := compared(w.Packet), compared(got)
	if slices.Equal(want, have) {
		return ""
	}
	for _, f := range want {
		i := slices.IndexFunc(have, func(h packet.Field) bool { return h.Name == f.Name })
		if i < 0 {
			return fmt.Sprintf("want %s %s, got no %s", f.Name, f.Value, f.Name)
		}
		if have[i] != f {
			return fmt.Sprintf("want %s %s, got %s %s", f.Name, f.Value, f.Name, have[i].Value)
		}
	}
	for _, f := range have {
		if !slices.ContainsFunc(want, func(w packet.Field) bool { return w.Name == f.Name }) {
			return fmt.Sprintf("want no %s, got %s %s", f.Name, f.Name, f.Value)
		}
	}
	return fmt.Sprintf("want %v, got %v", w.Packet, got)
}

// went says in a few words where a packet went.
func went(o ctexp.Outcome) string {
	if v := o.Verdict(); v != ctexp.VerdictAccept {
		return v.String()
	}
	if left := o.Left(); len(left) > 0 {
		return "out " + left[0].Link
	}
	return "delivered to the host"
}
