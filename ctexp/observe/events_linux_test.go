package observe_test

import (
	"context"
	"errors"
	"iter"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/ti-mo/conntrack"
	"github.com/ti-mo/netfilter"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/kernel"
	"github.com/ctexp/go-ctexp/internal/needs"
)

func (l lab) events() []observe.Event {
	l.Helper()
	var events []observe.Event
	for e, err := range l.o.Events(l.Context()) {
		if err != nil {
			l.Fatal(err)
		}
		events = append(events, e)
	}
	return events
}

// The life of a connection: handshake, close from both sides, and deletion by netlink.
func TestLifeOfAConnection(t *testing.T) {
	t.Parallel()
	x := open(t, router())

	x.talk(closedConnection(web)...)
	if _, err := x.env.Table().Flush(t.Context(), nf.Filter{}); err != nil {
		t.Fatal(err)
	}

	events := x.events()
	want := []string{
		"NEW SYN_SENT", "UPDATE SYN_RECV", "UPDATE ESTABLISHED [ASSURED]",
		"UPDATE FIN_WAIT [ASSURED]", "UPDATE LAST_ACK [ASSURED]", "UPDATE TIME_WAIT [ASSURED]", "DESTROY",
	}
	if diff := cmp.Diff(want, observe.Life(events, web.Tuple(nf.TCP))); diff != "" {
		t.Errorf("life (-want +got):\n%s", diff)
	}
	var asked []bool
	for _, e := range events {
		asked = append(asked, e.ByNetlink)
	}
	if diff := cmp.Diff([]bool{false, false, false, false, false, false, true}, asked); diff != "" {
		t.Errorf("asked by netlink (-want +got):\n%s", diff)
	}
	const first = "NEW tcp SYN_SENT src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10000"
	if got := events[0].String(); got != first {
		t.Errorf("got  %s\nwant %s", got, first)
	}
}

// A packet that is dropped before its flow is confirmed has no event.
func TestDroppedPacketsHaveNoEvents(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{
		netnsenv.NFT("table ip u { chain in { type filter hook input priority 0; tcp dport 80 drop; }; }"),
	}})

	x.send(packet.SYN(web), web.UDP(nil))

	got := [][]string{observe.Life(x.events(), web.Tuple(nf.TCP)), observe.Life(x.events(), web.UDP(nil).Tuple())}
	if diff := cmp.Diff([][]string{nil, {"NEW"}}, got); diff != "" {
		t.Errorf("a dropped SYN and a datagram (-want +got):\n%s", diff)
	}
}

// Packets that a full table drops have no events, however many early_drop lets through.
func TestPacketsDroppedByAFullTableHaveNoEvents(t *testing.T) {
	t.Parallel()
	const sent = 10
	x := open(t, netnsenv.Config{Silent: true, Room: netnsenv.Free(3)})

	x.sendSYNs(sent, web)

	lives := 0
	for i := range sent {
		switch life := observe.Life(x.events(), packet.SYN(web.Nth(i)).Tuple()); {
		case len(life) > 0 && life[0] == "NEW SYN_SENT":
			lives++
		case len(life) > 0:
			t.Errorf("flow %d has %q", i, life)
		}
	}
	if got := x.tally(); lives+int(got.Dropped) != sent {
		t.Errorf("%d of %d flows have events, and %v", lives, sent, got)
	}
}

// Events have the time at which they happened, even if they are read late.
func TestEventsHaveTheKernelsTime(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	release := observe.HoldEvents(x.o)
	before := time.Now()
	x.sendSYNs(3, web)
	after := time.Now()
	release()

	events := x.events()
	if !kernel.EventTime.Here() {
		after = time.Now()
	}
	for _, e := range events {
		if e.Time.Before(before) || e.Time.After(after) {
			t.Errorf("%v at %v, want it between %v and %v", e, e.Time, before, after)
		}
	}
	if len(events) != 3 {
		t.Errorf("%d events, want 3", len(events))
	}
}

// UDP has no state. Its updates are the first reply and ASSURED.
func TestLifeOfUDP(t *testing.T) {
	t.Parallel()
	x := open(t, router())
	x.talk(web.UDP(nil), web.UDP(nil), web.Reverse().UDP(nil))
	if diff := cmp.Diff([]string{"NEW", "UPDATE"}, observe.Life(x.events(), web.UDP(nil).Tuple())); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// An iteration returns what happened before it began; a later one returns the rest as well.
func TestEventsAreASnapshot(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	x.sendSYNs(3, web)
	n := 0
	for _, err := range x.o.Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 1 {
			x.sendSYNs(5, web)
		}
	}
	if all := len(x.events()); n != 3 || all != 5 {
		t.Errorf("%d events, later %d; want 3 and 5", n, all)
	}
}

// Lost events are an error, and an EventLost stands in their place, followed by the table.
func TestLostEventsAreReported(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, NoPath: true}, func(c *observe.Config) {
		c.NoFrames, c.EventBuffer = true, 8<<10
	})
	release := observe.HoldEvents(x.o)
	x.sendSYNs(100, web)
	release()
	x.o.Drain() // up to here the kernel adds nothing
	x.send(packet.SYN(web.Nth(200)))

	kinds := map[observe.EventKind]int{}
	var order []observe.EventKind
	var last error
	for e, err := range x.o.Events(t.Context()) {
		if last = err; err != nil {
			break
		}
		kinds[e.Kind]++
		order = append(order, e.Kind)
	}
	order = slices.Compact(order)
	want := []observe.EventKind{observe.EventNew, observe.EventLost, observe.EventResync, observe.EventNew}
	if diff := cmp.Diff(want, order); diff != "" || !errors.Is(last, observe.ErrEventsLost) {
		t.Errorf("%v, in the end %v (-want +got):\n%s", kinds, last, diff)
	}
	if kinds[observe.EventLost] != 1 || kinds[observe.EventResync] != 101 {
		t.Errorf("%v: want one gap, and the 101 entries of the table", kinds)
	}
	if _, err := x.o.Tally(t.Context()); !errors.Is(err, observe.ErrEventsLost) {
		t.Errorf("tally: %v", err)
	}
}

func TestMaxEventsIsAnError(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true}, func(c *observe.Config) { c.MaxEvents = 5 })
	x.sendSYNs(12, web)
	n := 0
	var last error
	for _, err := range x.o.Events(t.Context()) {
		if last = err; err == nil {
			n++
		}
	}
	if n != 5 || !errors.Is(last, observe.ErrEventsLost) {
		t.Errorf("%d events, then %v", n, last)
	}
	if got := x.tally().Entries; got != 12 { // which needs none of them
		t.Errorf("%d entries, want 12", got)
	}
}

func TestEventsThatAreOffAreAnError(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]lab{
		"NoEvents": open(t, netnsenv.Config{}, func(c *observe.Config) { c.NoEvents = true }),
		"sysctl":   open(t, netnsenv.Config{Sysctls: map[string]string{"net.netfilter.nf_conntrack_events": "0"}}),
	} {
		if err := lastError(o.o.Events(t.Context())); !errors.Is(err, observe.ErrOff) {
			t.Errorf("%s: %v", name, err)
		}
		if err := lastError(o.o.Follow(t.Context())); !errors.Is(err, observe.ErrOff) {
			t.Errorf("%s: follow: %v", name, err)
		}
		if o.o.NextEvent() != nil {
			t.Errorf("%s: there is a channel for the next event", name)
		}
	}
}

// Expectations appear among the entries, in the kernel's order.
func TestEventsOfExpectations(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{netnsenv.NFT(expecting)}})

	x.send(packet.SYN(web))
	if _, err := x.env.Table().Flush(t.Context(), nf.Filter{}); err != nil {
		t.Fatal(err)
	}

	var got []string
	for _, e := range x.events() {
		got = append(got, e.Kind.String())
		if e.Kind.IsExpect() && (e.Expect.Master != web.Tuple(nf.TCP) || e.Expect.Tuple.Dst.Port() != 5000) {
			t.Errorf("%v: want port 5000, expected by %v", e, web.Tuple(nf.TCP))
		}
	}
	if diff := cmp.Diff([]string{"EXPECT_NEW", "NEW", "DESTROY", "EXPECT_DESTROY"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Close ends Follow, those that wait for NextEvent, and Events.
func TestCloseEndsTheReadersOfEvents(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	x.sendSYNs(3, web)
	next := x.o.NextEvent()
	n := 0
	for _, err := range x.o.Events(t.Context()) {
		if n++; err != nil {
			if !errors.Is(err, os.ErrClosed) || n != 2 {
				t.Errorf("step %d: %v", n, err)
			}
			break
		}
		if err := x.o.Close(); err != nil {
			t.Error(err)
		}
	}
	<-next
	<-x.o.NextEvent()
	if err := lastError(x.o.Follow(t.Context())); !errors.Is(err, os.ErrClosed) {
		t.Errorf("follow a closed Observer: %v", err)
	}
}

// keepSending injects SYNs of new flows until stop is called, since the test cannot know when Follow has begun.
func (l lab) keepSending() (stop func()) {
	l.Helper()
	ctx, cancel := context.WithCancel(l.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; i < 50000 && ctx.Err() == nil; i++ {
			f := packet.Flow{Src: addrPort("198.18.0.9:1"), Dst: web.Dst}
			_, err := inject.New(l.env.Links()[0]).Send(ctx, packet.SYNs(1, f.Nth(i)))
			if err != nil && ctx.Err() == nil {
				l.Error(err)
			}
			l.o.Drain() // whatever the buffer, these are not lost
		}
	}()
	return sync.OnceFunc(func() {
		cancel()
		<-done
	})
}

// Follow waits for events, and ends with its context.
func TestFollowWaitsForEvents(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	x.sendSYNs(3, web) // before it begins
	ctx, cancel := context.WithDeadline(t.Context(), latest(t))
	defer cancel()
	var got []string
	var last error
	defer x.keepSending()()
	for e, err := range x.o.Follow(ctx) {
		if last = err; err != nil {
			break
		}
		if got = append(got, e.Short()); len(got) == 5 {
			cancel()
		}
	}
	want := []string{"NEW SYN_SENT", "NEW SYN_SENT", "NEW SYN_SENT", "NEW SYN_SENT", "NEW SYN_SENT"}
	if diff := cmp.Diff(want, got); diff != "" || !errors.Is(last, context.Canceled) {
		t.Errorf("%v (-want +got):\n%s", last, diff)
	}
}

// After a gap, Follow reads the table again and continues.
func TestFollowContinuesAfterAGap(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, NoPath: true}, func(c *observe.Config) {
		c.NoFrames, c.EventBuffer = true, 8<<10
	})
	ctx, cancel := context.WithDeadline(t.Context(), latest(t))
	defer cancel()
	var order []observe.EventKind
	var last error
	resynced := 0
	stop := x.keepSending()
	defer stop()
	sent := false
	for e, err := range x.o.Follow(ctx) {
		if last = err; err != nil {
			break
		}
		if !sent {
			stop()
			release := observe.HoldEvents(x.o)
			x.sendSYNs(100, web)
			release()
			x.o.Drain()
			x.send(packet.SYN(web.Nth(200)))
			sent = true
		}
		switch order = append(order, e.Kind); {
		case e.Kind == observe.EventResync:
			resynced++
		case e.Kind == observe.EventNew && slices.Contains(order, observe.EventLost):
			cancel()
		}
	}
	order = slices.Compact(order)
	want := []observe.EventKind{observe.EventNew, observe.EventLost, observe.EventResync, observe.EventNew}
	if diff := cmp.Diff(want, order); diff != "" || resynced < 102 {
		t.Errorf("resynced %d (-want +got):\n%s", resynced, diff)
	}
	if !errors.Is(last, context.Canceled) || !errors.Is(last, observe.ErrEventsLost) {
		t.Errorf("ended by %v", last)
	}
}

func TestCloseEndsFollow(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	ended := make(chan error)
	go func() { ended <- lastError(x.o.Follow(t.Context())) }()
	x.sendSYNs(3, web)
	if err := x.o.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, os.ErrClosed) {
		t.Errorf("ended by %v", err)
	}
}

// Breaking out of Follow removes its follower.
func TestBreakingOutRemovesTheFollower(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	defer x.keepSending()()
	for _, err := range x.o.Follow(t.Context()) {
		if err != nil {
			t.Error(err)
		}
		break
	}
	if n := observe.Followers(x.o); n != 0 {
		t.Errorf("%d still follow", n)
	}
}

// Entries found by their events are the same as those of a dump, whatever happened to them.
func TestFlowsByEventsAreThoseOfADump(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	dumping := open2(t, x)
	steps := []struct {
		name string
		act  func()
	}{
		{"nothing", func() {}},
		{"new flows", func() { x.sendSYNs(20, web) }},
		{"other kinds", func() { x.send(web.UDP(nil), packet.Echo(web.Src.Addr(), web.Dst.Addr(), 7, 1, nil)) }},
		{"connections", func() { x.send(closedConnection(web.Nth(30))...) }},
		{"zones", func() {
			for _, e := range []nf.Entry{
				entry(web, func(e *nf.Entry) { e.Zone = 3 }),
				entry(web.Nth(51), func(e *nf.Entry) { e.Zone, e.ZoneDir = 4, nf.Original }),
				entry(web.Nth(50), func(e *nf.Entry) { e.Zone, e.ZoneDir = 4, nf.Reply }),
			} {
				if err := x.env.Table().Create(e); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"one deleted", func() {
			if err := x.env.Table().Delete(entry(web.Nth(4), func(*nf.Entry) {})); err != nil {
				t.Fatal(err)
			}
		}},
		{"all but some deleted", func() {
			if _, err := x.env.Table().Flush(t.Context(), nf.Filter{Proto: nf.TCP}); err != nil {
				t.Fatal(err)
			}
		}},
		{"one again", func() { x.send(packet.SYN(web)) }},
	}
	for _, step := range steps {
		step.act()
		all := dumping.entries(nf.Filter{})
		for name, f := range map[string]nf.Filter{
			"all": {}, "zone 0": {Zone: nf.InZone(0)}, "zone 4": {Zone: nf.InZone(4)}, "UDP": {Proto: nf.UDP},
			"assured": {Status: nf.Assured, StatusMask: nf.Assured},
		} {
			got, ok := observe.FindByEvents(x.o, f)
			if !ok {
				t.Errorf("after %s, %s: not found by events", step.name, name)
			}
			var want []nf.Entry
			for _, e := range all {
				if f.Match(e) {
					want = append(want, e)
				}
			}
			if diff := cmp.Diff(want, got, plainAddresses, cmpopts.IgnoreFields(nf.Entry{}, "Timeout")); diff != "" {
				t.Errorf("after %s, %s (-dump +by events):\n%s", step.name, name, diff)
			}
		}
	}
}

var plainAddresses = cmpopts.EquateComparable(netip.AddrPort{})

// open2 opens a second Observer on the Env, without events.
func open2(t testing.TB, x lab) lab {
	t.Helper()
	cfg := configOf(x.env)
	cfg.NoEvents, cfg.NoFrames = true, true
	o, err := observe.Open(t.Context(), x.env, cfg)
	needs.Check(t, err)
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Errorf("close the Observer: %v", err)
		}
	})
	return lab{TB: t, env: x.env, o: o}
}

// Entries from before the Observer, of which it has no event, are found.
func TestFlowsFromBeforeTheObserverAreFound(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	x.sendSYNs(3, web)
	cfg := configOf(x.env)
	cfg.NoFrames = true
	o, err := observe.Open(t.Context(), x.env, cfg)
	needs.Check(t, err)
	t.Cleanup(func() { _ = o.Close() })
	late := lab{TB: t, env: x.env, o: o}
	for range 2 {
		x.send(web.UDP(nil))
		if diff := cmp.Diff(sortedLines(x.entries(nf.Filter{})), sortedLines(late.entries(nf.Filter{}))); diff != "" {
			t.Errorf("(-early +late):\n%s", diff)
		}
	}
}

// In an Env with a filler.
func BenchmarkFlowsBesideAFiller(b *testing.B) {
	x := open(b, netnsenv.Config{Silent: true, Room: netnsenv.Free(100)})
	x.sendSYNs(10, web)
	dumping := open2(b, x)
	for name, l := range map[string]lab{"by events": x, "by a dump": dumping} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := lastError(l.o.Flows(b.Context(), nf.Filter{})); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// queuedEvents is how many events fit into the receive buffer that an ordinary user gets by default.
const queuedEvents = 250

// rates measures how fast queued events are read: by the Observer, and by ti-mo's Listen with one worker.
type rates struct {
	lab
	listen *conntrack.Conn
	heard  chan conntrack.Event
	failed chan error
}

func openRates(t testing.TB) *rates {
	r := &rates{lab: open(t, netnsenv.Config{Silent: true, NoPath: true}, func(c *observe.Config) { c.NoFrames = true })}
	needs.Check(t, r.env.Do(func() (err error) {
		r.listen, err = conntrack.Dial(nil)
		return err
	}))
	t.Cleanup(func() { _ = r.listen.Close() })
	r.heard = make(chan conntrack.Event) // without a buffer: what nobody takes stays in the kernel's queue
	err := r.listen.SetReadBuffer(1 << 20)
	if err == nil {
		r.failed, err = r.listen.Listen(r.heard, 1, []netfilter.NetlinkGroup{netfilter.GroupCTNew})
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// round queues events for both readers and returns how long each takes to read them.
func (r *rates) round() (recorder, listen time.Duration) {
	r.Helper()
	release := observe.HoldEvents(r.o)
	if n, err := r.env.Table().CreateAll(r.Context(), established(queuedEvents)); err != nil {
		release()
		r.Fatalf("%d created: %v", n, err)
	}
	start := time.Now()
	release()
	r.o.Drain()
	recorder = time.Since(start)
	start = time.Now()
	lost := time.After(time.Until(latest(r.TB)))
	for range queuedEvents {
		select {
		case <-lost:
			r.Fatal("Listen has lost events without a word")
		case <-r.heard:
		case err := <-r.failed:
			r.Fatal(err)
		}
	}
	listen = time.Since(start)
	if _, err := r.env.Table().Flush(r.Context(), nf.Filter{}); err != nil {
		r.Fatal(err)
	}
	r.o.Drain()
	return recorder, listen
}

func established(n int) iter.Seq[nf.Entry] {
	return func(yield func(nf.Entry) bool) {
		for i := range n {
			tuple := packet.SYN(web.Nth(i)).Tuple()
			if !yield(nf.Entry{Orig: tuple, Reply: tuple.Reverse(), State: nf.Established, Timeout: time.Hour}) {
				return
			}
		}
	}
}

// Both readers in the same run: events per second.
func BenchmarkRecordEvents(b *testing.B) {
	x := openRates(b)
	var recorder, listen time.Duration
	for b.Loop() {
		r, l := x.round()
		recorder += r
		listen += l
	}
	n := float64(queuedEvents * b.N)
	b.ReportMetric(n/recorder.Seconds(), "events/s")
	b.ReportMetric(n/listen.Seconds(), "listen-events/s")
}

// The cost of decoding recorded events.
func BenchmarkDecodeEvents(b *testing.B) {
	x := open(b, netnsenv.Config{Silent: true, NoPath: true})
	const n = 10000
	if _, err := x.env.Table().WatchedBy(netnsenv.Watcher{Drain: x.o.Drain}).CreateAll(b.Context(), established(n)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := lastError(x.o.Events(b.Context())); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "events/s")
}

// Reading events ends with its context, also in the middle.
func TestEventsEndWithTheirContext(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	const n = 2000 // more than are yielded at a time
	x.sendSYNs(n, web)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	enough := errors.New("enough")
	events, last := 0, error(nil)
	for _, err := range x.o.Events(ctx) {
		if events++; err != nil {
			last = err
		}
		cancel(enough)
	}
	if events == n || !errors.Is(last, enough) && !errors.Is(last, context.Canceled) {
		t.Errorf("%d events of %d, then %v", events, n, last)
	}
}
