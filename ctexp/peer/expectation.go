package peer

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// ExpectationError says that the host under test did not send what was expected of it, or something else.
type ExpectationError struct {
	// What is what failed: "no such packet", …
	What string
	// Nearest is the packet that differs in the fewest things, empty if there is none.
	Nearest string
	// Rows are what was wanted, and what the nearest packet has of it.
	Rows packet.Rows
	// Came are the packets that came, one line each, the last of them if they are many.
	Came []string
	// Err is why nothing more was waited for.
	Err error

	numbers string // whose numbers in Came are relative
}

// Unwrap returns why nothing more was waited for.
func (e *ExpectationError) Unwrap() error { return e.Err }

// Error prints all of it, in several lines.
func (e *ExpectationError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %v", e.What, e.Err)
	if len(e.Rows) > 0 {
		if e.Nearest != "" {
			b.WriteString("\nnearest: " + e.Nearest)
		}
		b.WriteString("\n" + strings.TrimRight(e.Rows.String(), "\n"))
	}
	if len(e.Came) == 0 {
		b.WriteString("\nno packet came at all")
		return b.String()
	}
	b.WriteString("\nwhat came (✓ taken, = nothing new, ✗ not expected" + e.numbers + "):")
	for _, line := range e.Came {
		b.WriteString("\n  " + line)
	}
	return b.String()
}

var (
	errRefused = errors.New("something else came")
	errCame    = errors.New("something came")
)

// refusal says what ended an expectation.
func refusal(r packet.Record) error {
	if r.Packet.Quoted() != nil {
		return &refusedError{r}
	}
	return errRefused
}

// refusedError says that what was sent has not arrived.
type refusedError struct{ by packet.Record }

func (e *refusedError) Error() string { return "an ICMP error came instead: " + line(e.by) }

// line prints a packet that left by a link.
func line(r packet.Record) string { return r.Link + ": " + r.Packet.String() }

// expectation is what was expected, for the error. The zero expectation is nothing.
type expectation struct {
	// compare compares a packet with what was expected; nil: nothing was. Elsewhere does so with a packet of another flow, if
	// there is none of this one; nil: compare is for all of them, else it returns nil for those.
	compare, elsewhere func(packet.Record) packet.Rows
	wanted             packet.Rows                // if no packet is there to compare with
	line               func(packet.Record) string // prints a packet; nil: as it is
	numbers            string                     // whose numbers line prints relative
}

// expected is the expectation of m.
func expected(m packet.Match) expectation {
	return expectation{compare: func(r packet.Record) packet.Rows { return compare(m, r) }, wanted: m.Wanted()}
}

// history is what an expectation has seen.
type history struct {
	skipped []packet.Record // by itself
	unread  []packet.Record
	taken   []packet.Record
	total   int // of all that ever came
	refused int // number of the packet that should not be there
}

// failure makes the error.
func (h *history) failure(what string, err error, x expectation) *ExpectationError {
	if x.line == nil {
		x.line = line
	}
	e := &ExpectationError{What: what, Err: err, numbers: x.numbers}
	for _, compare := range []func(packet.Record) packet.Rows{x.compare, x.elsewhere} {
		if compare == nil || e.Nearest != "" || errors.As(err, new(*refusedError)) {
			continue
		}
		for _, r := range append(slices.Clone(h.skipped), h.unread...) {
			if h.refused != 0 && r.Number != h.refused {
				continue
			}
			rows := compare(r)
			if rows != nil && (e.Nearest == "" || rows.Differing() < e.Rows.Differing()) {
				e.Rows, e.Nearest = rows, x.line(r)
			}
		}
	}
	if e.Nearest == "" {
		e.Rows = x.wanted
	}
	e.Came = h.lines(x.line)
	return e
}

// lines lists the packets in the order in which they came.
func (h *history) lines(line func(packet.Record) string) []string {
	const most = 40
	mark := map[int]string{h.refused: "✗"}
	for _, r := range h.taken {
		mark[r.Number] = "✓"
	}
	for _, r := range h.skipped {
		mark[r.Number] = "="
	}
	all := append(slices.Clone(h.taken), h.unread...)
	slices.SortFunc(all, func(a, b packet.Record) int { return a.Number - b.Number })
	var out []string
	if extra := len(all) - most; extra > 0 {
		all = all[extra:]
	}
	if earlier := h.total - len(all); earlier > 0 {
		out = append(out, fmt.Sprintf("… %d more before", earlier))
	}
	for _, r := range all {
		m := mark[r.Number]
		if m == "" {
			m = " "
		}
		out = append(out, fmt.Sprintf("%s %s", m, line(r)))
	}
	return out
}
