package observe

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// mark is what was counted up to a moment, for the Timeline.
type mark struct {
	time    time.Time
	what    string // has happened
	counted bool   // else tally is that of the mark before
	tally   Tally
	err     error // why it was not counted
}

// marklog keeps marks.
type marklog struct {
	mu     sync.Mutex
	marks  []mark
	beyond int // came when the limit was reached
}

// maxMarks bounds what marks cost: a tenth of a millisecond each.
const maxMarks = 1000

// full reports whether no more marks are kept, and counts the one that was to come.
func (l *marklog) full() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.marks) < maxMarks {
		return false
	}
	l.beyond++
	return true
}

func (l *marklog) add(m mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.marks = append(l.marks, m)
}

// snapshot returns the marks so far and how many were not kept.
func (l *marklog) snapshot() ([]mark, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clip(l.marks), l.beyond
}

// countMoments tells how the counts have changed from mark to mark. A mark at which nothing happened, and nothing has
// changed, is left out.
func countMoments(marks []mark) []Moment {
	var moments []Moment
	var before Tally
	for _, m := range marks {
		change := ""
		switch {
		case m.err != nil:
			change = fmt.Sprintf("not counted: %v", m.err)
		case m.counted:
			change = changes(m.tally.Sub(before))
			before = m.tally
		}
		text := m.what
		if text != "" && change != "" {
			text += ": "
		}
		if text += change; text != "" {
			moments = append(moments, Moment{Time: m.time, Kind: KindCount, Text: text})
		}
	}
	return moments
}

// changes prints what a Tally that is a difference has of other than zero: "raw/prerouting +10, entries -3".
func changes(t Tally) string {
	var s []string
	for name, n := range t.All() {
		if n != 0 {
			s = append(s, fmt.Sprintf("%s %+d", name, n))
		}
	}
	return strings.Join(s, ", ")
}
