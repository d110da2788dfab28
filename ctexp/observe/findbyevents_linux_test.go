package observe_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// Entries that are found by their events are those that a dump has, whatever happened to them.
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
		{"other kinds", func() { x.send(web.UDP(nil), inject.Echo(web.Src.Addr(), web.Dst.Addr(), 7, 1, nil)) }},
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
		{"one again", func() { x.send(inject.SYN(web)) }},
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

// open2 puts a second Observer on the Env, one that has no events.
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

// Entries from before the Observer, of which it has heard nothing, are there all the same.
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
		if diff := cmp.Diff(x.flows(nf.Filter{}), late.flows(nf.Filter{})); diff != "" {
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
