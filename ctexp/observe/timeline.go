package observe

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/pktline"
)

// Timeline is what happened, in the order of time.
type Timeline struct {
	Moments []Moment
	// Missing says which moments could not be had, or not all of them, and why: "reasons: needs …". What is neither
	// there nor missing did not happen.
	Missing []string
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

// Record is all that an Observer has recorded, read once.
type Record struct {
	Frames  []packet.Record
	Reasons []Reason
	// Unexplained are packets that conntrack called INVALID without a reason, with NoReason for the text: those that came in
	// or left as one of Frames.
	Unexplained []Reason
	Steps       []Step
	Events      []Event
	// Drops are the packets that the kernel threw away, where the Observer has somebody to tell them (SetDropSource).
	Drops []nf.Dropped
	// Missing says which of these could not be had, or not all of them, and why.
	Missing []Missing

	marks []mark
}

// Missing says why a part of a Record could not be had, or not all of it.
type Missing struct {
	Part RecordPart
	// Err names the part: "reasons: needs …". It answers to errors.ErrUnsupported if the part was never to be had, because
	// the namespace or the Config does without it.
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
	PartCounts      RecordPart = "counts" // how the counts have changed from mark to mark
)

// Lacks returns why a part is not there, or not whole; nil if it is.
func (r Record) Lacks(part RecordPart) error {
	for _, m := range r.Missing {
		if m.Part == part {
			return m.Err
		}
	}
	return nil
}

// Timeline puts what is recorded in the order of time: the frames, below each of them what conntrack said about its packet
// and which rules that met and why the kernel threw it away, the events of the table, and how the counts have changed.
func (r Record) Timeline() Timeline {
	together, rest := groupByFrame(frameMoments(r.Frames),
		reasonMoments(r.Frames, r.Reasons), unexplainedMoments(r.Frames, r.Unexplained), stepMoments(r.Frames, r.Steps), dropMoments(r.Frames, r.Drops))
	lists := append([][]Moment{together, eventMoments(r.Frames, r.Events)}, rest...)
	t := Timeline{Moments: mergeByTime(append(lists, countMoments(r.marks))...)}
	for _, m := range r.Missing {
		t.Missing = append(t.Missing, m.Err.Error())
	}
	return t
}

// gather collects what a sequence yields until it fails. Why it failed is put down as missing in the Record; it is an
// error only if there was something to be had.
func collect[T any](r *Record, part RecordPart, seq iter.Seq2[T, error]) (all []T, err error) {
	for v, e := range seq {
		if e != nil {
			err = e
			break
		}
		all = append(all, v)
	}
	if err != nil {
		r.Missing = append(r.Missing, Missing{part, err})
	}
	if errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return all, err
}

// frameMoments returns the moments of frames, the i-th with the number i+1.
func frameMoments(frames []packet.Record) []Moment {
	moments := make([]Moment, len(frames))
	for i, f := range frames {
		moments[i] = Moment{Time: f.Time, Kind: KindFrame, Frame: i + 1, Text: f.Line()}
	}
	return moments
}

// reasonMoments returns the moments of reasons, in the order of their frames, then those of reasons that belong to none.
// These say which packet they are about.
func reasonMoments(frames []packet.Record, reasons []Reason) []Moment {
	var moments []Moment
	of, rest := ReasonsOf(frames, reasons)
	for i, some := range of {
		for _, r := range some {
			moments = append(moments, Moment{Time: r.Time, Kind: KindReason, Frame: i + 1, Text: fmt.Sprintf("%v: %s", r.Proto, r.Text)})
		}
	}
	for _, r := range rest {
		text := fmt.Sprintf("%s %s: %v: %s", r.Link, pktline.Format(r.Packet), r.Proto, r.Text)
		moments = append(moments, Moment{Time: r.Time, Kind: KindReason, Text: text})
	}
	return moments
}

// unexplainedMoments are reasonMoments of packets without a reason.
func unexplainedMoments(frames []packet.Record, unexplained []Reason) []Moment {
	of, _ := ReasonsOf(frames, unexplained)
	var moments []Moment
	for i, some := range of {
		for _, r := range some {
			moments = append(moments, Moment{Time: r.Time, Kind: KindReason, Frame: i + 1, Text: "INVALID; " + r.Text})
		}
	}
	return moments
}

// stepMoments does the same with the rules that packets met.
func stepMoments(frames []packet.Record, steps []Step) []Moment {
	var moments []Moment
	of, rest := StepsOf(frames, steps)
	for i, some := range of {
		for _, s := range some {
			moments = append(moments, Moment{Time: s.Time, Kind: KindTrace, Frame: i + 1, Text: s.brief()})
		}
	}
	for _, s := range rest {
		text := fmt.Sprintf("%s %v %s: %s", s.Link, s.Dir, pktline.Format(s.Header), s.brief())
		moments = append(moments, Moment{Time: s.Time, Kind: KindTrace, Text: strings.TrimSpace(text)})
	}
	return moments
}

// dropMoments does the same with the packets that the kernel threw away.
func dropMoments(frames []packet.Record, drops []nf.Dropped) []Moment {
	var moments []Moment
	of, rest := DropsOf(frames, drops)
	for i, some := range of {
		for _, d := range some {
			moments = append(moments, Moment{Time: d.Time, Kind: KindDrop, Frame: i + 1, Text: DropCount{Reason: d.Reason, Function: d.Function, Packets: 1}.String()})
		}
	}
	for _, d := range rest {
		moments = append(moments, Moment{Time: d.Time, Kind: KindDrop, Text: d.String()})
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
		moments[i] = Moment{Time: e.Time, Kind: KindEvent, Frame: in.frameOf(e), Text: e.String()}
		if e.ByNetlink {
			moments[i].Text += " (by netlink)"
		}
	}
	return moments
}

// EventsOf tells which events belong to which frame: of[i] has those of frames[i], in their order. An event belongs to the
// last packet of its flow that came in before it. What fits no frame is the rest: what netlink or time has done.
func EventsOf(frames []packet.Record, events []Event) (of [][]Event, rest []Event) {
	of = make([][]Event, len(frames))
	in := newIncoming(frames)
	for _, e := range events {
		if n := in.frameOf(e); n > 0 {
			of[n-1] = append(of[n-1], e)
		} else {
			rest = append(rest, e)
		}
	}
	return of, rest
}

// incoming finds the frames of what came in, by the flow.
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

// behind returns the number of the frame that an event belongs to. Of the packets of a flow only a RST ends its entry;
// else it is time that does, or another's packet.
func (in *incoming) frameOf(e Event) int {
	if e.ByNetlink || e.Kind != EventNew && e.Kind != EventUpdate && e.Kind != EventDestroy {
		return 0
	}
	n := in.last(e.Entry.Orig, e.Entry.Reply, e.Time)
	if n > 0 && e.Kind == EventDestroy && !strings.Contains(in.frames[n-1].TCPFlags(), "R") {
		return 0
	}
	return n
}

// last returns the number of the last frame of a flow, in either direction, until that time; zero if there was none. What
// comes in has the tuples of its entry on either side of a NAT.
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

// groupByFrame puts the moments that belong to a frame behind it, those of an earlier list first, and returns the others
// list by list. The i-th of frames has the number i+1.
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

// merge makes one list of several by time. The moments of each list stay in their own order, which is the kernel's and
// more to be relied on than a clock that may be set; of the same time, those of an earlier list come first.
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
