package observe_test

import (
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
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

// The life of a connection: handshake, close from both sides, and what somebody deletes in the end.
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
		asked = append(asked, e.Asked)
	}
	if diff := cmp.Diff([]bool{false, false, false, false, false, false, true}, asked); diff != "" {
		t.Errorf("asked by netlink (-want +got):\n%s", diff)
	}
	const first = "NEW tcp SYN_SENT src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10000"
	if got := events[0].String(); got != first {
		t.Errorf("got  %s\nwant %s", got, first)
	}
}

// A packet that is dropped before its flow is confirmed leaves no trace in the table, and none in the events.
func TestDroppedPacketsHaveNoEvents(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{
		netnsenv.NFT("table ip u { chain in { type filter hook input priority 0; tcp dport 80 drop; }; }"),
	}})

	x.send(inject.SYN(web), web.UDP(nil))

	got := [][]string{observe.Life(x.events(), web.Tuple(nf.TCP)), observe.Life(x.events(), web.UDP(nil).Tuple())}
	if diff := cmp.Diff([][]string{nil, {"NEW"}}, got); diff != "" {
		t.Errorf("a dropped SYN and a datagram (-want +got):\n%s", diff)
	}
}

// Nor do those that a full table drops, however many that are: early_drop throws dice.
func TestPacketsThatFindTheTableFullHaveNoEvents(t *testing.T) {
	t.Parallel()
	const sent = 10
	x := open(t, netnsenv.Config{Silent: true, Room: netnsenv.Free(3)})

	x.sendSYNs(sent, web)

	lives := 0
	for i := range sent {
		switch life := observe.Life(x.events(), inject.SYN(web.Nth(i)).Tuple()); {
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

// Events have the time at which they happened, however late they are read.
func TestEventsHaveTheKernelsTime(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	release := observe.HoldEvents(x.o)
	before := time.Now()
	x.sendSYNs(3, web)
	after := time.Now()
	release()

	events := x.events()
	if observe.KernelBefore(6, 14) {
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

// UDP has no state; what changes is that it was answered and then that it is assured.
func TestLifeOfUDP(t *testing.T) {
	t.Parallel()
	x := open(t, router())
	x.talk(web.UDP(nil), web.UDP(nil), web.Reverse().UDP(nil))
	if diff := cmp.Diff([]string{"NEW", "UPDATE"}, observe.Life(x.events(), web.UDP(nil).Tuple())); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// The iteration shows what was there when it began; a later one shows the rest, too.
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

// Events that nobody read in time are an error that stands in its place, with what the table has.
func TestASmallEventBufferLosesAloud(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, NoPath: true}, func(c *observe.Config) {
		c.NoFrames, c.EventBuffer = true, 8<<10
	})
	release := observe.HoldEvents(x.o)
	x.sendSYNs(100, web)
	release()
	x.o.Drain() // up to here the kernel adds nothing
	x.send(inject.SYN(web.Nth(200)))

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

func TestNoEventsSaysSo(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]lab{
		"NoEvents": open(t, netnsenv.Config{}, func(c *observe.Config) { c.NoEvents = true }),
		"sysctl":   open(t, netnsenv.Config{Sysctls: map[string]string{"net.netfilter.nf_conntrack_events": "0"}}),
	} {
		if err := lastError(o.o.Events(t.Context())); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
		if err := lastError(o.o.Follow(t.Context())); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: follow: %v", name, err)
		}
		if o.o.NextEvent() != nil {
			t.Errorf("%s: there is a channel for the next event", name)
		}
	}
}

// Expectations come and go among the flows, in the kernel's order.
func TestEventsOfExpectations(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{netnsenv.NFT(expecting)}})

	x.send(inject.SYN(web))
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

// Close ends who follows and who waits, and who reads what was recorded.
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
