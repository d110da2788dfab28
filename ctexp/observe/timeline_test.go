package observe

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/golden"
	"github.com/ctexp/go-ctexp/internal/header"
)

// start is the beginning of the tests' timelines.
var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// us returns the time n microseconds after start.
func us(n int) time.Time { return start.Add(time.Duration(n) * time.Microsecond) }

// seen returns a frame with its time.
func seen(t time.Time, f packet.Record) packet.Record {
	f.Time = t
	return f
}

// A host with a full table: a packet that is INVALID, one that finds no room, and an answer.
func TestTimelineIsSortedByTime(t *testing.T) {
	t.Parallel()
	odd := visit.TCP(packet.TCP{Window: 1024})
	frames := []packet.Record{
		seen(us(1), frame("tun0", packet.In, packet.SYN(visit))),
		seen(us(41), frame("tun0", packet.Out, packet.SYNACK(visit.Reverse()))),
		seen(us(90), frame("tun0", packet.In, odd)),
		seen(us(130), frame("tun0", packet.In, packet.SYN(visit.Nth(1)))),
	}
	reasons := []Reason{
		{Time: us(91), Link: "tun0", Packet: odd, Text: "invalid tcp flag combination", Proto: nf.TCP},
		{Time: us(100), Link: "tun1", Packet: packet.ACK(visit), Text: "bad checksum", Proto: nf.TCP},
	}
	counted := func(raw, mangle uint64, entries int, dropped, invalid uint64) Tally {
		return Tally{
			Packets: map[string]uint64{"raw/prerouting": raw, "mangle/prerouting": mangle},
			Entries: entries, Dropped: dropped, Invalid: invalid,
		}
	}
	marks := []mark{
		{time: us(80), what: "1 packet by tun0", counted: true, tally: counted(1, 1, 1, 0, 0)},
		{time: us(120), what: "1 packet by tun0", counted: true, tally: counted(2, 2, 1, 0, 1)},
		{time: us(170), what: "1 packet by tun0", counted: true, tally: counted(3, 2, 1, 1, 1)},
		{time: us(180), what: "the service was stopped", err: errors.New("no answer")},
		{time: us(200), counted: true, tally: counted(3, 2, 0, 1, 1)},
		{time: us(210), counted: true, tally: counted(3, 2, 0, 1, 1)},
	}
	entry := nf.Entry{Orig: visit.Tuple(nf.TCP), Reply: packet.SYNACK(visit.Reverse()).Tuple(), State: nf.SynSent}
	answered := entry
	answered.State, answered.Status = nf.SynRecv, nf.SeenReply
	events := []Event{
		{Time: us(9), Kind: EventNew, Entry: entry},
		{Time: us(38), Kind: EventUpdate, Entry: answered},
		{Time: us(175), Kind: EventDestroy, Entry: answered, ByNetlink: true},
		{Time: us(185), Kind: EventLost},
	}
	steps := []Step{
		{Time: us(90), Link: "tun0", Dir: packet.In, Header: odd, Family: "ip", Table: "filter", Chain: "input", Kind: StepRule, Rule: "ct state invalid drop", Verdict: "drop"},
		{Time: us(195), Packet: 1, Dir: packet.Out, Header: packet.RST(visit.Reverse()), Family: "ip", Table: "filter", Chain: "output", Kind: StepPolicy, Verdict: "drop"},
	}

	together, rest := groupByFrame(frameMoments(frames), reasonMoments(frames, reasons), stepMoments(frames, steps))
	story := Timeline{
		Moments: mergeByTime(append(append([][]Moment{together}, rest...), eventMoments(frames, events), countMoments(marks))...),
		Missing: []string{"trace: steps were lost: 3 found the kernel's buffer full"},
	}
	golden.Check(t, "timeline.txt", story.String())

	times := func(m Moment) int64 { return m.Time.UnixNano() }
	if !slices.IsSortedFunc(story.Moments, func(a, b Moment) int { return int(times(a) - times(b)) }) {
		t.Error("it is not in the order of time")
	}
	if got := len(story.Of(KindReason)); got != 2 {
		t.Errorf("%d reasons, want 2", got)
	}
}

func TestTimelineOfNothing(t *testing.T) {
	t.Parallel()
	if got := (Timeline{}).String(); got != "nothing happened\n" {
		t.Errorf("got %q", got)
	}
}

// Each list keeps its order even if the clock was set back.
func TestMergeKeepsTheOrderOfEachList(t *testing.T) {
	t.Parallel()
	list := func(name string, times ...int) (ms []Moment) {
		for i, n := range times {
			ms = append(ms, Moment{Time: us(n), Text: fmt.Sprint(name, i)})
		}
		return ms
	}
	var got []string
	for _, m := range mergeByTime(list("a", 1, 5, 3, 9), nil, list("b", 1, 4, 9), list("c", 0)) {
		got = append(got, m.Text)
	}
	want := []string{"c0", "a0", "b0", "b1", "a1", "a2", "a3", "b2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// An event belongs to the last packet of its flow that came in before it, in either direction and on either side of a NAT.
func TestEventsBelongToTheLastPacketThatCameIn(t *testing.T) {
	t.Parallel()
	back := packet.Flow{Src: server, Dst: netip.MustParseAddrPort("192.0.2.9:10003")} // to the address behind the NAT
	entry := nf.Entry{Orig: visit.Tuple(nf.TCP), Reply: packet.SYNACK(back).Tuple()}
	in := newIncoming([]packet.Record{
		seen(us(10), frame("tun0", packet.In, packet.SYN(visit))),
		seen(us(20), frame("tun0", packet.In, packet.SYN(visit.Nth(1)))),
		seen(us(30), frame("tun1", packet.In, packet.SYNACK(back))),
		seen(us(31), frame("tun0", packet.Out, packet.SYNACK(visit.Reverse()))),
		seen(us(35), packet.Record{EtherType: header.EtherTypeARP}),
		seen(us(40), frame("tun0", packet.In, packet.RST(visit))),
	})
	type event struct {
		kind EventKind
		at   int
	}
	want := map[event]int{
		{EventNew, 9}: 0, {EventNew, 10}: 1, {EventNew, 25}: 1,
		{EventUpdate, 30}: 3, {EventUpdate, 39}: 3,
		{EventDestroy, 39}: 0, {EventDestroy, 1000}: 6, // no packet that was there before has ended it
		{EventResync, 1000}: 0, {EventLost, 1000}: 0,
	}
	got := map[event]int{}
	for e := range want {
		got[e] = in.frameOf(&Event{Time: us(e.at), Kind: e.kind, Entry: entry})
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(event{})); diff != "" {
		t.Errorf("event: frame (-want +got):\n%s", diff)
	}
	if n := in.frameOf(&Event{Time: us(1000), Kind: EventNew, Entry: entry, ByNetlink: true}); n != 0 {
		t.Errorf("an event that was asked for belongs to frame %d", n)
	}
}

// Each event stands beside its frame, or among the rest.
func TestEventsOfFrames(t *testing.T) {
	t.Parallel()
	entry := nf.Entry{Orig: visit.Tuple(nf.TCP), Reply: visit.Reverse().Tuple(nf.TCP)}
	frames := []packet.Record{
		seen(us(10), frame("tun0", packet.In, packet.SYN(visit))),
		seen(us(15), frame("tun0", packet.Out, packet.SYNACK(visit.Reverse()))),
		seen(us(20), frame("tun0", packet.In, packet.ACK(visit))),
	}
	event := func(at int, k EventKind, byNetlink bool) Event {
		return Event{Time: us(at), Kind: k, Entry: entry, ByNetlink: byNetlink}
	}
	created, answered, open, asked := event(11, EventNew, false), event(16, EventUpdate, false), event(21, EventUpdate, false), event(22, EventUpdate, true)

	of, rest := EventsOf(frames, []Event{created, answered, open, asked})

	if diff := cmp.Diff([][]Event{{created, answered}, nil, {open}}, of, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Errorf("beside the frames (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Event{asked}, rest, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Errorf("the rest (-want +got):\n%s", diff)
	}
}

func TestRecordSaysWhatItLacks(t *testing.T) {
	t.Parallel()
	why := errors.New("the receive buffer was full")
	r := Record{Missing: []Missing{{PartEvents, why}}}
	if events, frames := r.Lacks(PartEvents), r.Lacks(PartFrames); events != why || frames != nil {
		t.Errorf("events: %v, want %v; frames: %v, want none", events, why, frames)
	}
}

func TestMomentsOfMissingFramesAreKept(t *testing.T) {
	t.Parallel()
	stray := []Moment{{Text: "of none"}, {Frame: 2, Text: "of one beyond"}, {Frame: -1, Text: "of nonsense"}}
	together, rest := groupByFrame([]Moment{{Frame: 1, Text: "frame"}}, stray)
	if diff := cmp.Diff([][]Moment{stray}, rest, cmpopts.EquateApproxTime(0)); diff != "" || len(together) != 1 {
		t.Errorf("%d together, rest (-want +got):\n%s", len(together), diff)
	}
}

// Memory and time are bounded, and missing marks are counted.
func TestMarksAreBounded(t *testing.T) {
	t.Parallel()
	var l marklog
	for range maxMarks + 7 {
		if !l.full() {
			l.add(mark{})
		}
	}
	if marks, beyond := l.snapshot(); len(marks) != maxMarks || beyond != 7 {
		t.Errorf("%d marks and %d beyond", len(marks), beyond)
	}
}

func BenchmarkTimeline(b *testing.B) {
	var frames []packet.Record
	for i := range 1000 {
		frames = append(frames, seen(us(i), frame("tun0", packet.In, packet.SYN(visit.Nth(i)))))
	}
	for b.Loop() {
		together, rest := groupByFrame(frameMoments(frames), reasonMoments(frames, nil))
		_ = mergeByTime(append(rest, together)...)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(frames)), "ns/frame")
}
