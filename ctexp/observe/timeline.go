package observe

import (
	"fmt"
	"strings"
	"time"
)

// Timeline is what happened, in the order of time.
type Timeline struct {
	Moments []Moment
	// Missing says which moments could not be had, or not all of them, and why: "reasons: needs …". What is neither
	// there nor missing did not happen.
	Missing []string
}

// Moment is one thing that happened.
type Moment struct {
	// Time is when the kernel had the frame; of what was said of a frame's packet, and of the rules that it met, the time
	// of the frame; of an event, that of the Event.
	Time time.Time
	Kind MomentKind
	// Frame is the number of the frame that it is or belongs to, as Frames yields them and as a pcapng file of them
	// counts: the first is 1. An event belongs to the last packet of its flow that came in before it, which has brought
	// about what the host answers, too. Zero: it belongs to none, or nobody knows to which.
	Frame int
	Text  string // one line, without the time
}

// MomentKind is what a Moment tells of.
type MomentKind uint8

// The kinds, in the order in which they follow from a packet.
const (
	KindFrame  MomentKind = iota // a packet went over a link
	KindReason                   // conntrack said something about it
	KindTrace                    // it met a rule
	KindDrop                     // the kernel threw it away
	KindEvent                    // an entry of the table came, changed or left
	KindCount                    // the counts have changed
)

// String returns one word: "frame", "reason", "trace", "drop", "event" or "count".
func (k MomentKind) String() string {
	words := [...]string{"frame", "reason", "trace", "drop", "event", "count"}
	if int(k) < len(words) {
		return words[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// String prints the moment as one line. What belongs to a frame is set in, below it:
//
//	12:00:00.000001 frame  #1 tun0 In  IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [none], win 65535, length 0
//	12:00:00.000001 reason    tcp: invalid tcp flag combination
//	12:00:00.000031 count  1 packet by tun0: raw/prerouting +1, invalid +1
func (m Moment) String() string {
	prefix := ""
	switch {
	case m.Kind == KindFrame:
		prefix = fmt.Sprintf("#%d ", m.Frame)
	case m.Frame > 0:
		prefix = "   "
	}
	return fmt.Sprintf("%s %-6v %s%s", m.Time.Format("15:04:05.000000"), m.Kind, prefix, m.Text)
}

// String prints the moments, a line each, and then what is missing among them, in brackets.
func (t Timeline) String() string {
	var b strings.Builder
	for _, m := range t.Moments {
		fmt.Fprintf(&b, "%v\n", m)
	}
	for _, s := range t.Missing {
		fmt.Fprintf(&b, "(%s)\n", s)
	}
	if b.Len() == 0 {
		return "nothing happened\n"
	}
	return b.String()
}

// Of returns the moments of a kind.
func (t Timeline) Of(kind MomentKind) []Moment {
	var some []Moment
	for _, m := range t.Moments {
		if m.Kind == kind {
			some = append(some, m)
		}
	}
	return some
}
