package inject

import (
	"fmt"
	"slices"
	"strings"
)

// UnmetError says that the host under test did not send what was expected of it, or something else.
type UnmetError struct {
	What string // "no such packet", …
	// Nearest is the packet that differs in the fewest things, and Rows what was wanted of it; empty if none came.
	Nearest string
	Rows    []Row
	// Came are the packets that came, one line each, the last of them if they are many.
	Came []string
	Err  error // why nothing more was waited for
}

// Unwrap returns why nothing more was waited for.
func (e *UnmetError) Unwrap() error { return e.Err }

// Error prints all of it, in several lines.
func (e *UnmetError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %v", e.What, e.Err)
	if len(e.Rows) > 0 {
		fmt.Fprintf(&b, "\nnearest: %s\n%s", e.Nearest, strings.TrimRight(table(e.Rows).String(), "\n"))
	}
	if len(e.Came) == 0 {
		b.WriteString("\nno packet came at all")
		return b.String()
	}
	b.WriteString("\nwhat came (✓ taken, = nothing new, ✗ not expected):")
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

// unmet makes the error. Compare says of a packet what was wanted of it, or returns nil for one that is none of its
// business; nil means that nothing was wanted. Line prints a packet, nil as it is.
func (s *sight) unmet(what string, err error, compare func(Arrival) []Row, line func(Arrival) string) *UnmetError {
	if line == nil {
		line = Arrival.String
	}
	e := &UnmetError{What: what, Err: err}
	candidates := append(slices.Clone(s.passed), s.unread...)
	for _, a := range candidates {
		if compare == nil || s.refused != 0 && a.n != s.refused {
			continue
		}
		rows := compare(a.Arrival)
		if rows != nil && (e.Rows == nil || differing(rows) < differing(e.Rows)) {
			e.Rows, e.Nearest = rows, line(a.Arrival)
		}
	}
	e.Came = s.lines(line)
	return e
}

// lines lists the packets in the order in which they came.
func (s *sight) lines(line func(Arrival) string) []string {
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
