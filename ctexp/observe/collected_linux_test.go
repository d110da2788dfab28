package observe_test

import (
	"errors"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

// resets are n flows that a RST ends at once, each of which makes an event.
func (l lab) resets(n int) {
	l.Helper()
	pairs := func(yield func(inject.Packet) bool) {
		for i := range n {
			if f := web.Nth(i); !yield(inject.SYN(f)) || !yield(inject.RST(f)) {
				return
			}
		}
	}
	if _, err := inject.New(l.env.Links()[0]).Send(l.Context(), pairs); err != nil {
		l.Fatal(err)
	}
}

// Events that nobody read in time make no wrong number, but an error.
func TestLostEventsAreAnError(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, NoPath: true, NoFrames: true})
	release := observe.HoldEvents(x.o)
	x.resets(40000)
	release()
	if got, err := x.o.Tally(t.Context()); !errors.Is(err, observe.ErrEventsLost) {
		t.Errorf("got %v, %v", got, err)
	}
}

// What fits into the smallest buffer is read without being asked for.
func TestEventsAreReadMeanwhile(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, NoPath: true}, func(c *observe.Config) { c.NoFrames = true })
	for i := range 40 {
		x.resets(100)
		x.await("the events are read", func() bool { return observe.ReadEvents(x.o) == (i+1)*200 })
	}
	if diff := x.tally().Diff(observe.Tally{}); diff != "" {
		t.Errorf("4,000 flows that a RST ended (-want +got):\n%s", diff)
	}
}

// A table that is full of unanswered flows lets new ones in at the cost of those, and the filler stays out of sight.
func TestTallyOfATableFullOfUnreplied(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{
		Silent: true, Room: netnsenv.Free(0).Unreplied(),
		Probes: []nf.Probe{nf.ConntrackPrerouting, nf.ManglePrerouting},
	})
	x.sendSYNs(100, web)

	got := x.tally()
	behind := got.Packets["mangle/prerouting"]
	if behind+got.Dropped != 100 || got.Evicted < behind || behind == 0 {
		t.Errorf("%v: want behind + dropped = 100, and an eviction for each that got through", got)
	}
	if n := len(x.flows(nf.Filter{})); n > got.Entries || got.Entries > int(behind) {
		t.Errorf("%v, and %d flows", got, n)
	}
	if err := got.Check(); !errors.Is(err, observe.ErrLawNotApplicable) {
		t.Errorf("check: %v", err)
	}
	plain := observe.Tally{
		Packets: map[string]uint64{"conntrack/prerouting": 100, "mangle/prerouting": 0}, Dropped: 100,
	}
	if diff := got.Diff(plain); diff != "" {
		t.Errorf("up to the dice (-want +got):\n%s", diff)
	}
}

func BenchmarkDrain(b *testing.B) {
	x := open(b, netnsenv.Config{})
	for b.Loop() {
		x.o.Drain()
	}
}
