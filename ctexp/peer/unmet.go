package peer

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// UnmetError says that the host under test did not send what was expected of it, or something else.
type UnmetError struct {
	What string // "no such packet", …
	// Nearest is the packet that differs in the fewest things, empty if there is none. Rows are what was wanted, and what there
	// was of it.
	Nearest string
	Rows    []packet.Row
	// Came are the packets that came, one line each, the last of them if they are many.
	Came []string
	Err  error // why nothing more was waited for

	numbers string // whose numbers in Came are relative
}

// Unwrap returns why nothing more was waited for.
func (e *UnmetError) Unwrap() error { return e.Err }

// Error prints all of it, in several lines.
func (e *UnmetError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %v", e.What, e.Err)
	if len(e.Rows) > 0 {
		if e.Nearest != "" {
			b.WriteString("\nnearest: " + e.Nearest)
		}
		b.WriteString("\n" + strings.TrimRight(packet.Table(e.Rows).String(), "\n"))
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

// sight is what an expectation has seen.
type sight struct {
	passed  []numbered // in its own time
	unread  []numbered
	taken   []numbered
	total   int // of all that ever came
	refused int // number of the packet that should not be
}

func (s *sight) came(unread, taken []numbered, total int) {
	s.unread, s.taken, s.total = slices.Clone(unread), slices.Clone(taken), total
}

// wanted is what an expectation was about.
type wanted struct {
	// compare says of a packet what was wanted of it; nil: nothing was wanted at all. Other does so of a packet of another flow,
	// if there is none of this one; nil: compare is for all of them, else it returns nil for those.
	compare, other func(packet.Arrival) []packet.Row
	rows           func() []packet.Row         // what was wanted, if no packet is there to compare with
	line           func(packet.Arrival) string // prints a packet; nil: as it is
	numbers        string                      // whose numbers line prints relative
}

// unmet makes the error.
func (s *sight) unmet(what string, err error, w wanted) *UnmetError {
	if w.line == nil {
		w.line = packet.Arrival.String
	}
	e := &UnmetError{What: what, Err: err, numbers: w.numbers}
	for _, compare := range []func(packet.Arrival) []packet.Row{w.compare, w.other} {
		if compare == nil || e.Nearest != "" || errors.As(err, new(*refusedError)) {
			continue
		}
		for _, a := range append(slices.Clone(s.passed), s.unread...) {
			if s.refused != 0 && a.n != s.refused {
				continue
			}
			rows := compare(a.Arrival)
			if rows != nil && (e.Nearest == "" || packet.Differing(rows) < packet.Differing(e.Rows)) {
				e.Rows, e.Nearest = rows, w.line(a.Arrival)
			}
		}
	}
	if e.Nearest == "" && w.rows != nil {
		e.Rows = w.rows()
	}
	e.Came = s.lines(w.line)
	return e
}

// refusal says what ended an expectation.
func refusal(a packet.Arrival) error {
	if packet.Dissect(a.Packet).Quote != nil {
		return &refusedError{a}
	}
	return errRefused
}

// refusedError says that what was sent has not arrived.
type refusedError struct{ by packet.Arrival }

func (e *refusedError) Error() string { return "an ICMP error came instead: " + e.by.String() }

// lines lists the packets in the order in which they came.
func (s *sight) lines(line func(packet.Arrival) string) []string {
	const most = 40
	mark := map[int]string{s.refused: "✗"}
	for _, a := range s.taken {
		mark[a.n] = "✓"
	}
	for _, a := range s.passed {
		mark[a.n] = "="
	}
	all := append(slices.Clone(s.taken), s.unread...)
	slices.SortFunc(all, func(a, b numbered) int { return a.n - b.n })
	var out []string
	if extra := len(all) - most; extra > 0 {
		all = all[extra:]
	}
	if earlier := s.total - len(all); earlier > 0 {
		out = append(out, fmt.Sprintf("… %d more before", earlier))
	}
	for _, a := range all {
		m := mark[a.n]
		if m == "" {
			m = " "
		}
		out = append(out, fmt.Sprintf("%s %s", m, line(a.Arrival)))
	}
	return out
}
