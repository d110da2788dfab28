package peer

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// ExpectationError is the error of a failed expectation: the host under test did not send the expected packet, or sent an
// unexpected one.
type ExpectationError struct {
	// What is the failed expectation: "no such packet" and so on.
	What string
	// Nearest is the packet that differs in the fewest fields, empty if there is none.
	Nearest string
	// Rows compare what was wanted with the nearest packet.
	Rows packet.Rows
	// Came are the packets that came, one line each; if they are many, the last ones.
	Came []string
	// Err is why the expectation has stopped waiting.
	Err error

	numbers string // whose numbers in Came are relative
}

// Unwrap returns Err.
func (e *ExpectationError) Unwrap() error { return e.Err }

// Error returns all of it in several lines.
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
		b.WriteString("\nno packet came")
		return b.String()
	}
	b.WriteString("\npackets that came (✓ taken, = nothing new, ✗ not expected" + e.numbers + "):")
	for _, line := range e.Came {
		b.WriteString("\n  " + line)
	}
	return b.String()
}

var (
	errRefused = errors.New("another packet came")
	errCame    = errors.New("a packet came")
)

// refusal returns the error for a refused packet.
func refusal(r packet.Record) error {
	if r.Packet.Quoted() != nil {
		return &refusedError{r}
	}
	return errRefused
}

// refusedError reports an ICMP error: the packet that it quotes has not arrived.
type refusedError struct{ icmp packet.Record }

func (e *refusedError) Error() string { return "an ICMP error came instead: " + line(e.icmp) }

// line prints a packet with its link.
func line(r packet.Record) string { return r.Link + ": " + r.Packet.String() }

// expectation describes the expected packet, for the error. The zero expectation is one of no packet.
type expectation struct {
	// compare compares a packet with the expected one, and returns nil if the packet is of another flow.
	compare func(packet.Record) packet.Rows
	// elsewhere, if not nil, compares packets of other flows if there is none of the expected one.
	elsewhere func(packet.Record) packet.Rows
	wanted    packet.Rows                // if there is no packet to compare with
	line      func(packet.Record) string // prints a packet; nil means the function line
	numbers   string                     // whose numbers line prints as relative
}

// expected returns the expectation of m.
func expected(m packet.Match) expectation {
	return expectation{compare: func(r packet.Record) packet.Rows { return compare(m, r) }, wanted: m.Wanted()}
}

// history has the packets that an expectation has seen.
type history struct {
	skipped []packet.Record // by this expectation
	unread  []packet.Record
	taken   []packet.Record
	total   int // number of packets so far
	refused int // number of the unexpected packet
}

// failure returns the error of an expectation.
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

// lines returns the packets in the order of arrival.
func (h *history) lines(line func(packet.Record) string) []string {
	const maxLines = 40
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
	if extra := len(all) - maxLines; extra > 0 {
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
