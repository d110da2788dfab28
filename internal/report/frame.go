package report

import (
	"fmt"
	"strings"
	"time"
)

// Frame is what went over a link, once.
type Frame struct {
	At   time.Duration `json:"at_ns"` // since Data.Time
	Link string        `json:"link"`
	Dir  string        `json:"dir"` // In or Out, as the host sees it
	// Line is the packet in the manner of tcpdump: "IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, length 0".
	Line string `json:"line"`
	// State is what conntrack made of it: "NEW SYN_SENT [UNREPLIED]", "INVALID", "no entry"; empty: not known.
	State   string   `json:"state,omitempty"`
	Verdict string   `json:"verdict,omitempty"` // Dropped, Accepted, or empty: not known
	Causes  []Cause  `json:"causes,omitempty"`  // why it was dropped: the one cause, or one of several
	Reason  string   `json:"reason,omitempty"`  // in words, why it is invalid or was dropped
	Steps   []string `json:"steps,omitempty"`   // the rules that it met with their verdicts, a line each
}

// The directions of a Frame and what becomes of it.
const (
	In  = "in"
	Out = "out"

	Dropped  = "dropped"
	Accepted = "accepted"
)

// Comment returns verdict, state and reason, those that there are, with "; " between them: what stands beside the
// packet in capture.pcapng.
func (f Frame) Comment() string {
	var s []string
	for _, word := range []string{f.Verdict, f.State, f.Reason} {
		if word != "" {
			s = append(s, word)
		}
	}
	return strings.Join(s, "; ")
}

// Moment is a line of the timeline.
type Moment struct {
	At   time.Duration `json:"at_ns"`
	Kind string        `json:"kind"` // "frame", "event", "reason", "trace", "drop", "count"
	// Frame is the number of the frame that it is or belongs to, as capture.pcapng counts: the first is 1. Zero: of none.
	Frame int    `json:"frame,omitempty"`
	Line  string `json:"line"`
	Loss  bool   `json:"loss,omitempty"` // it tells of a packet that was lost
}

// Text is the line with the number of the frame before it; what belongs to one is set in, below it.
func (m Moment) Text() string {
	switch {
	case m.Frame == 0:
		return m.Line
	case m.Kind == "frame":
		return fmt.Sprintf("#%d %s", m.Frame, m.Line)
	}
	return "   " + m.Line
}
