package observe

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// numbered returns n messages that differ in their mark.
func numbered(first, n int) func(i int) []byte {
	return func(i int) []byte { return message(msgEntryNew, attr(8, 0, 0, 0, byte(first+i))) }
}

// marks returns the marks of the events of some pieces, and -1 where events are missing.
func marks(t *testing.T, pieces []eventPiece) []int {
	t.Helper()
	var got []int
	var d eventDecoder
	for _, p := range pieces {
		if p.gap {
			got = append(got, -1)
		}
		for msg := range p.each {
			e, ok, err := d.decode(msg, p.read)
			if !ok || err != nil {
				t.Fatal(ok, err)
			}
			got = append(got, int(e.Entry.Mark))
		}
	}
	return got
}

func TestEventlogKeepsTheOrder(t *testing.T) {
	t.Parallel()
	l := &eventlog{limit: 100}
	l.add(time.Time{}, 3, numbered(1, 3))
	before, _ := l.snapshot()
	l.overrun(time.Time{})
	l.add(time.Time{}, 2, numbered(4, 2))
	after, lost := l.snapshot()
	if diff := cmp.Diff([][]int{{1, 2, 3}, {1, 2, 3, -1, 4, 5}}, [][]int{marks(t, before), marks(t, after)}); diff != "" {
		t.Errorf("before and after (-want +got):\n%s", diff)
	}
	if want := (lostEvents{overruns: 1}); lost != want {
		t.Errorf("lost %+v, want %+v", lost, want)
	}
}

// Events beyond the limit are counted, even if a part of a read still fits.
func TestEventlogEndsAtItsLimit(t *testing.T) {
	t.Parallel()
	l := &eventlog{limit: 4}
	l.add(time.Time{}, 3, numbered(1, 3))
	l.add(time.Time{}, 3, numbered(4, 3))
	l.add(time.Time{}, 1, numbered(7, 1))
	pieces, lost := l.snapshot()
	if diff := cmp.Diff([]int{1, 2, 3, 4}, marks(t, pieces)); diff != "" || lost.beyond != 3 {
		t.Errorf("%d beyond (-want +got):\n%s", lost.beyond, diff)
	}
}

// A follower gets events beyond the limit of the log. Events that it does not take in time are lost.
func TestFollowerHasItsOwnLimit(t *testing.T) {
	t.Parallel()
	l := &eventlog{limit: 4}
	l.add(time.Time{}, 4, numbered(1, 4))
	f := l.follow()
	l.add(time.Time{}, 3, numbered(5, 3))
	first := f.take()
	l.add(time.Time{}, 6, numbered(8, 6))
	l.add(time.Time{}, 1, numbered(14, 1))
	second := f.take()
	l.add(time.Time{}, 1, numbered(15, 1))
	third := f.take()
	l.leave(f)
	l.add(time.Time{}, 1, numbered(16, 1))

	got := [][]int{marks(t, first), marks(t, second), marks(t, third), marks(t, f.take())}
	if diff := cmp.Diff([][]int{{5, 6, 7}, {8, 9, 10, 11, -1}, {15}, nil}, got); diff != "" {
		t.Errorf("taken one after the other (-want +got):\n%s", diff)
	}
	if pieces, lost := l.snapshot(); lost.beyond != 12 || len(marks(t, pieces)) != 4 {
		t.Errorf("kept %v, lost %+v", marks(t, pieces), lost)
	}
}

// A waiter is woken by an event, by a gap, and by close, after which it never waits.
func TestEventlogWakes(t *testing.T) {
	t.Parallel()
	l := &eventlog{limit: 1}
	for name, happen := range map[string]func(){
		"event": func() { l.add(time.Time{}, 1, numbered(1, 1)) },
		"gap":   func() { l.overrun(time.Time{}) },
	} {
		next := l.next()
		select {
		case <-next:
			t.Errorf("%s: woken before it", name)
		default:
		}
		happen()
		<-next
	}
	f := l.follow()
	next := l.next()
	l.close()
	<-next
	<-f.ready
	<-l.next()
	<-l.follow().ready
}

func TestLostEventsSayWhatIsMissing(t *testing.T) {
	t.Parallel()
	const hint = "call Observer.Drain more often, or set a larger Config.EventBuffer, which net.core.rmem_max limits for an ordinary user"
	got := []string{lostEvents{overruns: 1}.String(), lostEvents{overruns: 2, beyond: 7}.String()}
	want := []string{
		"the receive buffer was full once (" + hint + ")",
		"the receive buffer was full 2 times (" + hint + "), 7 exceeded the limit of the Config",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func BenchmarkEventlogAdd(b *testing.B) {
	m := message(msgEntryNew, make([]byte, 200))
	b.ReportAllocs()
	l := &eventlog{limit: 1 << 20}
	for b.Loop() {
		if l.kept.events >= l.limit {
			l.kept = eventQueue{}
		}
		l.add(time.Time{}, batchSizeForTest, func(int) []byte { return m })
	}
}

const batchSizeForTest = 32

// event returns a message with header flags and the port that requested it.
func event(typ, flags uint16, asked uint32, attrs ...[]byte) []byte {
	m := message(typ, attrs...)
	binary.NativeEndian.PutUint16(m[6:], flags)
	binary.NativeEndian.PutUint32(m[12:], asked)
	return m
}

// tupleAttrs returns the attributes of a tuple from 198.18.0.2 to 192.0.2.1 with these ports.
func tupleAttrs(typ uint16, sport, dport byte) []byte {
	return attr(typ|nested, append(
		attr(1|nested, append(attr(1, 198, 18, 0, 2), attr(2, 192, 0, 2, 1)...)...),
		attr(2|nested, append(append(attr(1, byte(nf.TCP)), attr(2, 0, sport)...), attr(3, 0, dport)...)...)...)...)
}

var synSent = attr(4|nested, attr(1|nested, attr(1, byte(nf.SynSent))...)...)

func TestDecodeEvents(t *testing.T) {
	t.Parallel()
	read := time.Unix(100, 0)
	tuple := tupleAttrs(1, 7, 80)
	for _, c := range []struct {
		name  string
		msg   []byte
		kind  EventKind
		asked bool
		at    time.Time
		want  string
	}{
		{
			"new", event(msgEntryNew, flagCreate|flagExcl, 0, tuple, synSent), EventNew, false, read,
			"NEW tcp SYN_SENT src=198.18.0.2 dst=192.0.2.1 sport=7 dport=80",
		},
		{"update by somebody", event(msgEntryNew, 0, 77, tuple, synSent), EventUpdate, true, read, "UPDATE tcp SYN_SENT src=198.18.0.2"},
		{
			"destroy with its time", event(msgEntryDelete, 0, 0, tuple, attr(27, 0, 0, 0, 0, 0x3b, 0x9a, 0xca, 0)),
			EventDestroy, false, time.Unix(1, 0), "DESTROY tcp NONE src=198.18.0.2",
		},
		{
			"expectation", event(msgExpectNew, flagCreate, 0, tupleAttrs(2, 0, 99), tupleAttrs(1, 7, 21), attr(6, 'f', 't', 'p', 0)),
			EventExpectNew, false, read,
			"EXPECT_NEW tcp src=198.18.0.2 dst=192.0.2.1 sport=0 dport=99 master src=198.18.0.2 dst=192.0.2.1 sport=7 dport=21 helper=ftp",
		},
		{"end of an expectation", event(msgExpectDelete, 0, 0, tupleAttrs(2, 0, 99)), EventExpectDestroy, false, read, "EXPECT_DESTROY tcp"},
	} {
		var d eventDecoder
		e, ok, err := d.decode(c.msg, read)
		if !ok || err != nil || d.err() != nil {
			t.Errorf("%s: %v, %v, %v", c.name, ok, err, d.err())
			continue
		}
		if e.Kind != c.kind || e.ByNetlink != c.asked || !e.Time.Equal(c.at) || !strings.HasPrefix(e.String(), c.want) {
			t.Errorf("%s: %v at %v, asked %v: %v\nwant it to begin %q", c.name, e.Kind, e.Time, e.ByNetlink, e, c.want)
		}
	}
}

func TestShortEvents(t *testing.T) {
	t.Parallel()
	tcp := func(s nf.TCPState, st nf.Status) nf.Entry {
		return nf.Entry{Orig: nf.Tuple{Proto: nf.TCP}, State: s, Status: st}
	}
	var got []string
	for _, e := range []Event{
		{Kind: EventNew, Entry: tcp(nf.SynSent, nf.Confirmed)},
		{Kind: EventUpdate, Entry: tcp(nf.Established, nf.SeenReply|nf.Assured)},
		{Kind: EventUpdate, Entry: nf.Entry{Orig: nf.Tuple{Proto: nf.UDP}, Status: nf.SeenReply | nf.Assured}},
		{Kind: EventDestroy, Entry: tcp(nf.Close, nf.SeenReply|nf.Assured)},
		{Kind: EventResync, Entry: tcp(nf.Established, nf.SeenReply)},
		{Kind: EventLost},
		{Kind: EventExpectNew},
		{},
	} {
		got = append(got, e.Short())
	}
	want := []string{
		"NEW SYN_SENT", "UPDATE ESTABLISHED [ASSURED]", "UPDATE [ASSURED]", "DESTROY", "RESYNC ESTABLISHED", "LOST", "EXPECT_NEW", "UNKNOWN",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Messages that are not events are skipped. Errors about truncated or unknown attributes say where.
func TestDecodeEventSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	var d eventDecoder
	if _, ok, err := d.decode(message(2), time.Time{}); ok || err != nil {
		t.Errorf("another message: %v, %v", ok, err)
	}
	whole := event(msgEntryNew, 0, 0, tupleAttrs(1, 7, 80))
	cut := append([]byte(nil), whole[:len(whole)-3]...)
	binary.NativeEndian.PutUint32(cut, uint32(len(cut)))
	for name, c := range map[string]struct {
		msg  []byte
		want string
	}{
		"header":            {whole[:15], "shorter than its header"},
		"length":            {whole[:len(whole)-1], "its length field is"},
		"cut":               {cut, "offset"},
		"size of a mark":    {event(msgEntryNew, 0, 0, attr(8, 1)), "type 8, value at offset 24: 1 bytes, want 4"},
		"unknown in tuples": {event(msgEntryNew, 0, 0, attr(1|nested, attr(9, 1)...)), "type 9, value at offset 28: unknown attribute of the tuple"},
	} {
		if _, ok, err := d.decode(c.msg, time.Time{}); ok || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v; want %q", name, ok, err, c.want)
		}
	}
	if _, ok, err := d.decode(event(msgEntryNew, 0, 0, attr(8, 0, 0, 0, 1), attr(99, 1)), time.Time{}); !ok || err != nil {
		t.Errorf("an unknown attribute: %v, %v", ok, err)
	}
	var unknown *nfnl.UnknownError
	if !errors.As(d.err(), &unknown) || unknown.Type != 99 || unknown.Offset != 32 {
		t.Errorf("unknown: %v", d.err())
	}
}

func FuzzDecodeEvent(f *testing.F) {
	f.Add(event(msgEntryNew, flagCreate, 0, tupleAttrs(1, 7, 80), tupleAttrs(2, 80, 7), synSent, attr(27, 0, 0, 0, 0, 0, 0, 0, 1)))
	f.Add(event(msgEntryDelete, 0, 5, tupleAttrs(1, 7, 80), attr(20|nested, attr(1, 0, 0, 0, 0, 0, 0, 0, 1)...)))
	f.Add(event(msgExpectNew, flagCreate, 0, tupleAttrs(1, 0, 99), tupleAttrs(2, 7, 21), tupleAttrs(3, 255, 255), attr(10|nested, attr(1, 0, 0, 0, 1)...)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var d eventDecoder
		e, ok, err := d.decode(b, time.Time{})
		if err != nil && (ok || e != (Event{})) {
			t.Errorf("%v and %v", e, err)
		}
		_, _ = e.String(), e.Short()
	})
}

func BenchmarkDecodeEvent(b *testing.B) {
	msg := event(msgEntryNew, flagCreate, 0, tupleAttrs(1, 7, 80), tupleAttrs(2, 80, 7), attr(3, 0, 0, 0, 8), attr(7, 0, 0, 0, 120), synSent)
	b.ReportAllocs()
	for b.Loop() {
		var d eventDecoder
		if _, ok, err := d.decode(msg, time.Time{}); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

// A life has the events of the flow, by either of its tuples, and the gaps, which may be of any flow.
func TestLifeSelectsOneFlow(t *testing.T) {
	t.Parallel()
	flow := nf.Tuple{Proto: nf.TCP, Src: netip.MustParseAddrPort("198.18.0.2:10000"), Dst: netip.MustParseAddrPort("192.0.2.1:80")}
	other := flow
	other.Src = netip.MustParseAddrPort("198.18.0.3:10000")
	on := func(k EventKind, orig nf.Tuple, s nf.TCPState) Event {
		return Event{Kind: k, Entry: nf.Entry{Orig: orig, Reply: orig.Reverse(), State: s}}
	}
	events := []Event{
		on(EventNew, flow, nf.SynSent), on(EventNew, other, nf.SynSent), on(EventUpdate, flow, nf.SynRecv),
		{Kind: EventExpectNew, Expect: nf.Expectation{Master: flow}},
		{Kind: EventLost}, on(EventResync, other, nf.SynSent), on(EventResync, flow, nf.Established),
		on(EventDestroy, flow, nf.TCPNone),
	}
	want := []string{"NEW SYN_SENT", "UPDATE SYN_RECV", "LOST", "RESYNC ESTABLISHED", "DESTROY"}
	for _, tuple := range []nf.Tuple{flow, flow.Reverse()} {
		if diff := cmp.Diff(want, Life(events, tuple)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tuple, diff)
		}
	}
}

// Lives returns for each flow what Life returns, whether it was before a gap, after it, or never.
func TestLivesHasTheLifeOfEachFlow(t *testing.T) {
	t.Parallel()
	flow := nf.Tuple{Proto: nf.TCP, Src: netip.MustParseAddrPort("198.18.0.2:10000"), Dst: netip.MustParseAddrPort("192.0.2.1:80")}
	late, itself, never := flow, flow, flow
	late.Src = netip.MustParseAddrPort("198.18.0.3:10000")
	itself.Src = itself.Dst
	never.Src = netip.MustParseAddrPort("198.18.0.4:10000")
	on := func(k EventKind, orig nf.Tuple, s nf.TCPState) Event {
		return Event{Kind: k, Entry: nf.Entry{Orig: orig, Reply: orig.Reverse(), State: s}}
	}
	events := []Event{
		on(EventNew, flow, nf.SynSent), on(EventNew, itself, nf.SynSent), on(EventUpdate, flow, nf.SynRecv),
		{Kind: EventExpectNew, Expect: nf.Expectation{Master: flow}},
		{Kind: EventLost}, on(EventNew, late, nf.SynSent), on(EventResync, flow, nf.Established), {Kind: EventLost},
		on(EventDestroy, flow, nf.TCPNone),
	}
	want := map[nf.Tuple][]string{{}: Life(events, never)}
	for _, tuple := range []nf.Tuple{flow, flow.Reverse(), late, late.Reverse(), itself} {
		want[tuple] = Life(events, tuple)
	}
	if diff := cmp.Diff(want, Lives(events)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestFateOfDestroyedEntries(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		e    nf.Entry
		want fate
	}{
		{"time over", nf.Entry{State: nf.Close}, timedOut},
		{"no time and no state", nf.Entry{State: nf.TCPNone}, timedOut},
		{"evicted", nf.Entry{Timeout: 100 * time.Second, State: nf.SynSent}, early},
		{"collected while closing", nf.Entry{Timeout: 10 * time.Second, State: nf.LastAck, Status: nf.Assured | nf.SeenReply}, early},
		{"UDP evicted", nf.Entry{Timeout: 30 * time.Second}, early},
		{"RST to a SYN", nf.Entry{Timeout: 119 * time.Second, State: nf.Close}, endedByPacket},
		{"opened again or collected", nf.Entry{Timeout: 100 * time.Second, State: nf.TimeWait, Status: nf.SeenReply}, maybeReplaced},
		{"opened again or collected after a RST", nf.Entry{Timeout: 9 * time.Second, State: nf.Close, Status: nf.SeenReply}, maybeReplaced},
	} {
		if got := fateOf(c.e); got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
}
