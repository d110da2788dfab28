package observe

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/pktline"
	"github.com/ctexp/go-ctexp/internal/plain"
)

// Timeline is what happened, in order of time.
type Timeline struct {
	Moments []Moment // by time
	// Missing says which kinds of moments are missing or incomplete, and why: "reasons: needs …". A kind that is
	// neither present nor missing did not happen.
	Missing []string
}

// String prints the moments, one per line, and then what is missing in parentheses.
func (t Timeline) String() string {
	var b strings.Builder
	for _, m := range t.Moments {
		fmt.Fprintf(&b, "%v\n", m)
	}
	for _, s := range t.Missing {
		fmt.Fprintf(&b, "(%s)\n", plain.Line(s))
	}
	if b.Len() == 0 {
		return "nothing happened\n"
	}
	return b.String()
}

// Of returns the moments of one kind.
func (t Timeline) Of(kind MomentKind) []Moment {
	var some []Moment
	for _, m := range t.Moments {
		if m.Kind == kind {
			some = append(some, m)
		}
	}
	return some
}

// Moment is one thing that happened.
type Moment struct {
	// Time is when the kernel received or sent the frame. Reasons and steps have the time of the frame of their
	// packet, events that of the Event.
	Time time.Time
	Kind MomentKind // what happened
	// Frame is the number of the frame that the moment is or belongs to, counted from 1 as Frames yields them and as
	// in a pcapng file. An event belongs to the last packet of its flow that came in before it, which also caused
	// what the host replied. Zero: it belongs to no frame, or to an unknown one.
	Frame int
	Text  string // one line, without the time
}

// String prints the moment on one line. What belongs to a frame is indented below it:
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
	return fmt.Sprintf("%s %-6v %s%s", m.Time.Format("15:04:05.000000"), m.Kind, prefix, plain.Line(m.Text))
}

// MomentKind is the kind of a Moment.
type MomentKind uint8

// The kinds of moments, in the order in which they follow from a packet.
const (
	KindFrame  MomentKind = iota // a packet went over a link
	KindReason                   // conntrack logged a reason about it
	KindTrace                    // it met a rule
	KindDrop                     // the kernel dropped it
	KindEvent                    // an entry or expectation of the table changed
	KindCount                    // the counts changed
	KindOutput                   // a program wrote a line, or ended
)

// String returns one word: "frame", "reason", "trace", "drop", "event", "count" or "output".
func (k MomentKind) String() string {
	words := [...]string{"frame", "reason", "trace", "drop", "event", "count", "output"}
	if int(k) < len(words) {
		return words[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Record is everything that an Observer recorded, read at one time.
type Record struct {
	Frames  []packet.Record // as Observer.Frames yields them
	Reasons []Reason        // as Observer.Reasons yields them
	// Unexplained are the packets of Frames that conntrack called INVALID without a reason. Their Text is NoReason.
	Unexplained []Reason
	Steps       []Step  // as Observer.Trace yields them
	Events      []Event // as Observer.Events yields them
	// Drops are the packets that the kernel dropped; nil without a DropSource (Observer.SetDropSource).
	Drops []nf.Dropped
	// Output is what programs in the namespace wrote; nil if it is no Outputter.
	Output []Output
	// Missing says which parts are missing or incomplete, and why.
	Missing []Missing

	all   keptFrames // all frames: more than Frames after RecordFirst
	marks []mark
}

// CutError says that a part of a Record has only its first items, because RecordFirst was asked for no more.
type CutError struct {
	Part     RecordPart // the part that is cut
	Kept, Of int        // how many items it has, of how many
}

// Error returns "frames: the first 5000 of 100000".
func (e *CutError) Error() string { return fmt.Sprintf("%s: the first %d of %d", e.Part, e.Kept, e.Of) }

// Cut returns the CutError of a part, nil if it has all items.
func (r Record) Cut(part RecordPart) *CutError {
	var cut *CutError
	errors.As(r.Lacks(part), &cut)
	return cut
}

func (r Record) isCut(part RecordPart) bool { return r.Cut(part) != nil }

// Incoming returns how many packets of a family came in, those included that RecordFirst has left out.
func (r Record) Incoming(f nf.Family) (n int) {
	for frame := range r.all.all() {
		if frame.Dir == packet.In && frame.Family() == f {
			n++
		}
	}
	return n
}

// WritePcapng is WritePcapng for all frames, those included that RecordFirst has left out.
func (r Record) WritePcapng(w io.Writer, comment func(packet.Record) string) error {
	return writePcapng(w, r.all.all(), comment)
}

// Output is a line that a program wrote, or how it ended.
type Output struct {
	Time time.Time // when it was read
	Text string    // "nginx[812]: bind() to 0.0.0.0:80 failed"
}

// String returns the text.
func (o Output) String() string { return o.Text }

// Missing says why a part of a Record is missing or incomplete.
type Missing struct {
	Part RecordPart // the part that is missing
	// Err names the part: "reasons: needs …". It is an errors.ErrUnsupported if the machine does not have the
	// part, and ErrOff if the namespace or the Config leaves it out.
	Err error
}

// RecordPart is a part of a Record.
type RecordPart string

// The parts of a Record.
const (
	PartFrames      RecordPart = "frames"
	PartReasons     RecordPart = "reasons"
	PartUnexplained RecordPart = "invalid"
	PartTrace       RecordPart = "trace"
	PartEvents      RecordPart = "events"
	PartDrops       RecordPart = "drops"
	PartCounts      RecordPart = "counts" // changes of the counts from mark to mark
)

// Lacks returns why a part is missing or incomplete, or nil if it is complete.
func (r Record) Lacks(part RecordPart) error {
	for _, m := range r.Missing {
		if m.Part == part {
			return m.Err
		}
	}
	return nil
}

// Timeline returns the record in order of time: the frames, each followed by what conntrack logged about its packet,
// the rules that the packet met and why the kernel dropped it; the events of the table; the changes of the
// counts; and the output of programs.
func (r Record) Timeline() Timeline {
	together, rest := groupByFrame(frameMoments(r.Frames),
		reasonMoments(r.Frames, r.Reasons), unexplainedMoments(r.Frames, r.Unexplained), stepMoments(r.Frames, r.Steps), dropMoments(r.Frames, r.Drops))
	lists := append([][]Moment{together, eventMoments(r.Frames, r.Events)}, rest...)
	t := Timeline{Moments: mergeByTime(append(lists, countMoments(r.marks), outputMoments(r.Output))...)}
	for _, m := range r.Missing {
		t.Missing = append(t.Missing, m.Err.Error())
	}
	return t
}

// collect returns what a sequence yields until it fails, but not more than first items unless first is zero. It records the
// error, and that there are more, as missing in r, and returns the error unless it says that the part is not supported.
func collect[T any](r *Record, part RecordPart, seq iter.Seq2[T, error], first int) (all []T, err error) {
	n := 0
	for v, e := range seq {
		if e != nil {
			err = e
			break
		}
		if n++; first == 0 || n <= first { // the others are counted, and so is what was lost behind them
			all = append(all, v)
		}
	}
	missing := err
	if n > len(all) {
		missing = errors.Join(&CutError{part, len(all), n}, err)
	}
	if missing != nil {
		r.Missing = append(r.Missing, Missing{part, missing})
	}
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, ErrOff) {
		err = nil
	}
	return all, err
}

// frameMoments returns the moments of frames, numbered from 1.
func frameMoments(frames []packet.Record) []Moment {
	moments := make([]Moment, len(frames))
	for i, f := range frames {
		moments[i] = Moment{Time: f.Time, Kind: KindFrame, Frame: i + 1, Text: f.Line()}
	}
	return moments
}

// moments returns the moments of values in the order of their frames, then those of the values without a frame. text
// prints a value below its frame or, if alone is set, without one.
func moments[T any](kind MomentKind, of [][]T, rest []T, text func(v T, alone bool) (time.Time, string)) []Moment {
	var all []Moment
	for i, values := range of {
		for _, v := range values {
			at, s := text(v, false)
			all = append(all, Moment{Time: at, Kind: kind, Frame: i + 1, Text: s})
		}
	}
	for _, v := range rest {
		at, s := text(v, true)
		all = append(all, Moment{Time: at, Kind: kind, Text: s})
	}
	return all
}

// reasonMoments returns the moments of reasons. A reason without a frame includes its packet.
func reasonMoments(frames []packet.Record, reasons []Reason) []Moment {
	of, rest := ReasonsOf(frames, reasons)
	return moments(KindReason, of, rest, func(r Reason, alone bool) (time.Time, string) {
		s := fmt.Sprintf("%v: %s", r.Proto, r.Text)
		if alone {
			s = fmt.Sprintf("%s %s: %s", r.Link, pktline.Format(r.Packet), s)
		}
		return r.Time, s
	})
}

// unexplainedMoments returns the moments of packets of frames that are INVALID without a reason.
func unexplainedMoments(frames []packet.Record, unexplained []Reason) []Moment {
	of, _ := ReasonsOf(frames, unexplained)
	return moments(KindReason, of, nil, func(r Reason, _ bool) (time.Time, string) { return r.Time, "INVALID; " + r.Text })
}

// stepMoments returns the moments of steps. A step without a frame includes the beginning of its packet.
func stepMoments(frames []packet.Record, steps []Step) []Moment {
	of, rest := StepsOf(frames, steps)
	return moments(KindTrace, of, rest, func(s Step, alone bool) (time.Time, string) {
		if alone {
			return s.Time, strings.TrimSpace(fmt.Sprintf("%s %v %s: %s", s.Link, s.Dir, pktline.Format(s.Header), s.brief()))
		}
		return s.Time, s.brief()
	})
}

// dropMoments returns the moments of drops. A drop without a frame includes its packet.
func dropMoments(frames []packet.Record, drops []nf.Dropped) []Moment {
	of, rest := DropsOf(frames, drops)
	return moments(KindDrop, of, rest, func(d nf.Dropped, alone bool) (time.Time, string) {
		if alone {
			return d.Time, d.String()
		}
		return d.Time, DropCount{Reason: d.Reason, Function: d.Function, Packets: 1}.String()
	})
}

// outputMoments returns the moments of programs.
func outputMoments(output []Output) []Moment {
	moments := make([]Moment, len(output))
	for i, o := range output {
		moments[i] = Moment{Time: o.Time, Kind: KindOutput, Text: o.Text}
	}
	return moments
}

// eventMoments returns the moments of events in their order.
func eventMoments(frames []packet.Record, events []Event) []Moment {
	if len(events) == 0 {
		return nil
	}
	in := newIncoming(frames)
	moments := make([]Moment, len(events))
	for i, e := range events {
		moments[i] = Moment{Time: e.Time, Kind: KindEvent, Frame: in.frameOf(&e), Text: e.String()}
		if e.ByNetlink {
			moments[i].Text += " (by netlink)"
		}
	}
	return moments
}

// EventsOf assigns events to frames: of[i] has the events of frames[i], in their order. An event belongs to the last
// packet of its flow that came in before it. rest has the events without a frame: those caused by netlink or by a
// timeout.
func EventsOf(frames []packet.Record, events []Event) (of [][]Event, rest []Event) {
	of = make([][]Event, len(frames))
	in := newIncoming(frames)
	numbers, counts := make([]int, len(events)), make([]int, len(frames)+1)
	for i := range events {
		numbers[i] = in.frameOf(&events[i])
		counts[numbers[i]]++
	}
	all := make([]Event, len(events)) // all lists are parts of it: an Event is large
	at := func(n int) []Event {
		list := all[:0:n]
		all = all[n:]
		return list
	}
	if counts[0] > 0 {
		rest = at(counts[0])
	}
	for i, n := range numbers {
		switch {
		case n == 0:
			rest = append(rest, events[i])
		case of[n-1] == nil:
			of[n-1] = at(counts[n])
			fallthrough
		default:
			of[n-1] = append(of[n-1], events[i])
		}
	}
	return of, rest
}

// incoming finds frames that came in by their flow.
type incoming struct {
	frames  []packet.Record
	byTuple map[nf.Tuple][]int // indices of frames
}

func newIncoming(frames []packet.Record) *incoming {
	in := &incoming{frames: frames, byTuple: map[nf.Tuple][]int{}}
	for i, f := range frames {
		if t := f.Tuple(); f.Dir == packet.In && t != (nf.Tuple{}) {
			in.byTuple[t] = append(in.byTuple[t], i)
		}
	}
	return in
}

// frameOf returns the number of the frame that an event belongs to, or zero. Of the packets of a flow only a RST
// removes its entry; otherwise a timeout or another packet does.
func (in *incoming) frameOf(e *Event) int {
	if e.ByNetlink || e.Kind != EventNew && e.Kind != EventUpdate && e.Kind != EventDestroy {
		return 0
	}
	n := in.last(e.Entry.Orig, e.Entry.Reply, e.Time)
	if n > 0 && e.Kind == EventDestroy && !strings.Contains(in.frames[n-1].TCPFlags(), "R") {
		return 0
	}
	return n
}

// last returns the number of the last frame of a flow until that time, in either direction; zero if there is none.
// Packets that come in have the tuples of their entry on either side of a NAT.
func (in *incoming) last(orig, reply nf.Tuple, until time.Time) int {
	number := 0
	for _, t := range []nf.Tuple{orig, reply} {
		of := in.byTuple[t]
		n := sort.Search(len(of), func(i int) bool { return in.frames[of[i]].Time.After(until) })
		if n > 0 {
			number = max(number, of[n-1]+1)
		}
	}
	return number
}

// groupByFrame inserts the moments that belong to a frame after it, those of an earlier list first, and returns the
// others list by list. Frames are numbered from 1.
func groupByFrame(frames []Moment, lists ...[]Moment) (together []Moment, rest [][]Moment) {
	behind := make([][]Moment, len(frames))
	for _, list := range lists {
		var others []Moment
		for _, m := range list {
			if i := m.Frame - 1; i >= 0 && i < len(frames) {
				m.Time = frames[i].Time
				behind[i] = append(behind[i], m)
			} else {
				others = append(others, m)
			}
		}
		rest = append(rest, others)
	}
	for i, f := range frames {
		together = append(append(together, f), behind[i]...)
	}
	return together, rest
}

// mergeByTime merges lists by time. The moments of each list keep their order, which is the kernel's and more
// reliable than a clock that may be set. At equal times those of an earlier list come first.
func mergeByTime(lists ...[]Moment) []Moment {
	n := 0
	for _, l := range lists {
		n += len(l)
	}
	all := make([]Moment, 0, n)
	for len(all) < n {
		first := -1
		for i, l := range lists {
			if len(l) > 0 && (first < 0 || l[0].Time.Before(lists[first][0].Time)) {
				first = i
			}
		}
		all = append(all, lists[first][0])
		lists[first] = lists[first][1:]
	}
	return all
}

// mark is a snapshot of the counts for the Timeline.
type mark struct {
	time    time.Time
	what    string // what happened before the mark
	counted bool   // false: tally is that of the previous mark
	tally   Tally
	err     error // why it was not counted
}

// marklog stores marks.
type marklog struct {
	mu     sync.Mutex
	marks  []mark
	beyond int // marks beyond the limit
}

// maxMarks is the largest number of marks, which cost a tenth of a millisecond each.
const maxMarks = 1000

// full reports whether no further marks are stored, and if so counts one as lost.
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

// snapshot returns the marks so far and how many were not stored.
func (l *marklog) snapshot() ([]mark, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clip(l.marks), l.beyond
}

// countMoments returns how the counts changed from mark to mark. It omits a mark without a text at which nothing
// changed.
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

// changes prints the counts of a difference that are not zero: "raw/prerouting +10, entries -3".
func changes(t Tally) string {
	var s []string
	for name, n := range t.All() {
		if n != 0 {
			s = append(s, fmt.Sprintf("%s %+d", name, n))
		}
	}
	return strings.Join(s, ", ")
}
