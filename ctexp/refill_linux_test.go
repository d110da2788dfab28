package ctexp_test

import (
	"errors"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// An Env that is filled once serves one experiment after the other. Each has its own counts, entries, events and frames, with nothing
// of those before.
func TestRefilledEnvServesAnotherExperiment(t *testing.T) {
	t.Parallel()
	const free, sent = 5, 12
	env, err := netnsenv.Open(t.Context(), netnsenv.Config{
		Room: netnsenv.Free(free), Silent: true, Probes: []nf.Probe{nf.RawPrerouting, nf.ManglePrerouting},
	})
	needs.Check(t, err)
	t.Cleanup(func() { needs.Check(t, env.Close()) })
	for round := range 3 {
		if round > 0 {
			needs.Check(t, env.Refill(t.Context()))
		}
		lab, err := ctexp.Watch(t.Context(), env, observe.Config{})
		needs.Check(t, err)
		flow := web.Nth(1000 * round)
		isOwn := func(what string, tuple nf.Tuple) {
			if port := tuple.Src.Port(); port < flow.Src.Port() || port >= flow.Src.Port()+sent {
				t.Errorf("round %d: %s of %v", round, what, tuple)
			}
		}

		_, err = lab.Inject(t.Context(), packet.SYNs(sent, flow))
		needs.Check(t, err)

		got, err := lab.Observer.Tally(t.Context())
		needs.Check(t, err)
		want := observe.Tally{
			Packets: map[string]uint64{"raw/prerouting": sent, "mangle/prerouting": free}, Entries: free, Dropped: sent - free,
		}
		if diff := got.Diff(want); diff != "" {
			t.Errorf("round %d: tally (-want +got):\n%s", round, diff)
		}
		if err := got.Check(); err != nil && !(errors.Is(err, observe.ErrLawNotApplicable) && got.Collected > 0) {
			t.Errorf("round %d: laws: %v (%v)", round, err, got)
		}
		flows, err := lab.Observer.SortedFlows(t.Context(), nf.Filter{})
		needs.Check(t, err)
		for _, e := range flows {
			isOwn("an entry", e.Orig)
		}
		for e, err := range lab.Observer.Events(t.Context()) {
			needs.Check(t, err)
			isOwn("an event", e.Entry.Orig)
		}
		frames := 0
		for f, err := range lab.Observer.Frames(t.Context()) {
			needs.Check(t, err)
			isOwn("a frame", f.Tuple())
			frames++
		}
		if frames != sent {
			t.Errorf("round %d: %d frames, want %d", round, frames, sent)
		}
		path, err := lab.Observer.Path(t.Context())
		needs.Check(t, err)
		for _, loss := range path.Losses() {
			if loss.Of != sent {
				t.Errorf("round %d: %+v", round, loss)
			}
		}
		needs.Check(t, lab.Observer.Close())
	}
}

// Refill is about the table. A fragment that waits in the host joins those of the next experiment, which is why it is not done
// unasked.
func TestRefillLeavesFragmentsThatWait(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Silent: true, Sysctls: map[string]string{"net.ipv4.ipfrag_time": "3600"}})
	cut := web.UDP(make([]byte, 1200)).Fragments(800)
	if len(cut) != 2 {
		t.Fatalf("%d fragments", len(cut))
	}
	x.Inject(packet.Packets(cut[0]))
	needs.Check(t, x.Env.Refill(t.Context()))
	again, err := ctexp.Watch(t.Context(), x.Env, observe.Config{})
	needs.Check(t, err)
	defer again.Observer.Close()
	_, err = again.Inject(t.Context(), packet.Packets(cut[1]))
	needs.Check(t, err)
	n := 0
	for e, err := range again.Observer.Flows(t.Context(), nf.Filter{}) {
		needs.Check(t, err)
		if e.Orig == web.UDP(nil).Tuple() {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d entries, want 1 of the fragments of both experiments", n)
	}
}
