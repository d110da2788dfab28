package observe_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

// A full table drops new flows between the probes on both sides of conntrack.
func TestTallyOfAFullTable(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{
		Room: netnsenv.Free(7), Silent: true,
		Probes: []nf.Probe{nf.RawPrerouting, nf.ManglePrerouting},
	})

	x.sendSYNs(10, web)

	got := x.tally()
	want := observe.Tally{
		Packets: map[string]uint64{"raw/prerouting": 10, "mangle/prerouting": 7},
		Entries: 7,
		Dropped: 3,
	}
	if diff := got.Diff(want); diff != "" {
		t.Errorf("10 SYNs into a table with room for 7 (-want +got):\n%s", diff)
	}
	if err := got.Check(); err != nil && !(errors.Is(err, observe.ErrLawNotApplicable) && got.Collected > 0) {
		t.Errorf("check: %v", err)
	}
	// The collector may strike at any moment.
	if n, after := len(x.flows(nf.Filter{})), x.tally(); n > got.Entries || n < after.Entries {
		t.Errorf("%d flows, %d entries before and %d after: the filler must be in neither", n, got.Entries, after.Entries)
	}
}

func TestTallyOfTwoPhases(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, Probes: []nf.Probe{nf.RawPrerouting, nf.ManglePrerouting.IPv6()},
		Links: []netnsenv.LinkConfig{{Prefixes: prefixes("192.0.2.1/24", "2001:db8::1/64")}}})

	x.sendSYNs(3, web)
	before := x.tally()
	x.sendSYNs(5, web.Nth(100))
	x.send(inject.SYN(web6))

	want := observe.Tally{
		Packets: map[string]uint64{"raw/prerouting": 5, "ip6/mangle/prerouting": 1},
		Entries: 6,
	}
	if diff := x.tally().Sub(before).Diff(want); diff != "" {
		t.Errorf("second phase (-want +got):\n%s", diff)
	}
}

// An entry whose time is over is collected, one that a RST or netlink ended is not.
func TestCollectedIsWhatLeftUnasked(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	over, reset, deleted := web.Nth(1), web.Nth(2), web.Nth(3)
	x.send(inject.SYN(over), inject.SYN(reset), inject.SYN(deleted))

	x.send(inject.RST(reset))
	for e, err := range x.o.Flows(t.Context(), nf.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		switch e.Orig.Src.Port() {
		case deleted.Src.Port():
			err = x.env.Table().Delete(e)
		case over.Src.Port():
			err = x.env.Table().Update(nf.Entry{Orig: e.Orig, Reply: e.Reply, Timeout: time.Second})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	x.await("one flow is collected", func() bool {
		x.flows(nf.Filter{}) // the kernel notices when it walks the table
		return x.tally().Collected > 0
	})

	want := observe.Tally{Entries: 0, Collected: 1}
	if diff := x.tally().Diff(want); diff != "" {
		t.Errorf("three flows that ended (-want +got):\n%s", diff)
	}
}

// A SYN that opens a closed connection again replaces the entry: nothing is collected.
func TestReplacedEntriesAreNotCollected(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	x.send(closedConnection(web)...)
	if got := x.flows(nf.Filter{}); len(got) != 1 || got[0][:len("tcp TIME_WAIT")] != "tcp TIME_WAIT" {
		t.Fatalf("want one entry in TIME_WAIT, got %q", got)
	}

	x.send(web.TCP(inject.TCP{Flags: inject.FlagSYN, Seq: 1_000_000}))

	if diff := x.tally().Diff(observe.Tally{Entries: 1}); diff != "" {
		t.Errorf("SYN in TIME_WAIT (-want +got):\n%s", diff)
	}
	if got := x.flows(nf.Filter{}); len(got) != 1 || got[0][:len("tcp SYN_SENT")] != "tcp SYN_SENT" {
		t.Errorf("want one entry in SYN_SENT, got %q", got)
	}
}

func TestChangedLimitIsAnError(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{})
	o, err := observe.Open(t.Context(), x.env, observe.Config{Limit: 7})
	if o != nil || !errors.Is(err, observe.ErrLimitChanged) {
		t.Errorf("got %v, %v", o, err)
	}
}

func TestProbeThatWasNeverThereIsNotSupported(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{})
	o, err := observe.Open(t.Context(), x.env, observe.Config{Probes: []nf.Probe{{Name: "nobody/made/it"}}})
	const want = "open observer: needs the probe nobody/made/it (the namespace was made without it)"
	if o != nil || !errors.Is(err, errors.ErrUnsupported) || errors.Is(err, observe.ErrProbeLost) || err.Error() != want {
		t.Errorf("got %v, %v; want %s", o, err, want)
	}
}

func TestSizesThatAreNoneAreRefused(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{})
	for want, cfg := range map[string]observe.Config{
		"config: Ring is -1: want 0 for what is usual, or more":             {Ring: -1},
		"config: MaxFrames is -1: want 0 for what is usual, or more":        {MaxFrames: -1},
		"config: MaxEvents is -2: want 0 for what is usual, or more":        {MaxEvents: -2},
		"config: EventBuffer is -1: want 0 for what is usual, or more":      {EventBuffer: -1},
		"config: Ring is 1073741825 bytes: want at most 1073741824 (1 GiB)": {Ring: 1<<30 + 1},
	} {
		o, err := observe.Open(t.Context(), x.env, cfg)
		if o != nil || err == nil || err.Error() != "open observer: "+want {
			t.Errorf("got %v, %v; want %s", o, err, want)
		}
	}
}

func TestClosedObserverAnswersErrClosed(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{})
	if err := x.o.Close(); err != nil {
		t.Fatal(err)
	}
	x.o.Drain()
	_, tally := x.o.Tally(t.Context())
	_, path := x.o.Path(t.Context())
	_, rules := x.o.Rules(t.Context())
	for what, err := range map[string]error{
		"Tally": tally, "Path": path, "Rules": rules,
		"Flows": lastError(x.o.Flows(t.Context(), nf.Filter{})), "Frames": lastError(x.o.Frames(t.Context())),
	} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestExpiredContextIsAnError(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, opened := observe.Open(ctx, x.env, observe.Config{})
	_, tally := x.o.Tally(ctx)
	_, path := x.o.Path(ctx)
	_, rules := x.o.Rules(ctx)
	for what, err := range map[string]error{
		"Open": opened, "Tally": tally, "Path": path, "Rules": rules,
		"Flows": lastError(x.o.Flows(ctx, nf.Filter{})), "Frames": lastError(x.o.Frames(ctx)),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func BenchmarkTally(b *testing.B) {
	x := open(b, netnsenv.Config{Probes: []nf.Probe{nf.RawPrerouting, nf.ManglePrerouting}})
	for b.Loop() {
		if _, err := x.o.Tally(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
