package observe_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// More flows than are asked for one by one are listed as well, in the kernel's order or in that of their tuples.
func TestManyFlowsAreListed(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	x.sendSYNs(600, web)
	got := x.flows(nf.Filter{})
	slices.Sort(got)
	var want []string
	sorted := x.entries(nf.Filter{})
	for i, e := range sorted {
		if i > 0 && e.Orig.Src.Compare(sorted[i-1].Orig.Src) <= 0 {
			t.Errorf("%v follows %v", e.Orig, sorted[i-1].Orig)
		}
		want = append(want, e.String())
	}
	if slices.Sort(want); len(got) != 600 || !slices.Equal(got, want) {
		t.Errorf("%d flows, %d in order, want 600 (-streamed +in order):\n%s", len(got), len(want), cmp.Diff(got, want))
	}
}

// While a list is read, the Observer answers all other questions, such as for another list.
func TestListsMayBeReadInsideOthers(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	x.sendSYNs(600, web)
	all := 0
	for e, err := range x.o.Flows(t.Context(), nf.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.o.Get(t.Context(), e.Orig, 0); err != nil {
			t.Error(err)
		}
		if all++; all%200 != 0 {
			continue
		}
		if n := len(x.flows(nf.Filter{})); n != 600 {
			t.Errorf("%d flows inside, want 600", n)
		}
		for range x.o.Flows(t.Context(), nf.Filter{}) {
			break
		}
	}
	if all != 600 {
		t.Errorf("%d flows, want 600", all)
	}
}

// A list ends when the Observer is closed or the context is done, also in the middle.
func TestListsEndInTheMiddle(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	x.sendSYNs(600, web)
	ctx, cancel := context.WithCancel(t.Context())
	for _, c := range []struct {
		end  func()
		want error
	}{
		{cancel, context.Canceled},
		{func() { _ = x.o.Close() }, os.ErrClosed},
	} {
		n := 0
		var last error
		for _, err := range x.o.Flows(ctx, nf.Filter{}) {
			if n++; n == 300 {
				c.end()
			}
			last = err
		}
		if n != 301 || !errors.Is(last, c.want) {
			t.Errorf("%d steps, then %v; want 301 and %v", n, last, c.want)
		}
		ctx = t.Context()
	}
}

// A tuple is found in every zone that it is in, whether its zones are known from events or not, and in either direction.
func TestFlowsOfATupleAreFoundInAllZones(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	tuple := web.Nth(1).Tuple(nf.TCP)
	for _, e := range []nf.Entry{
		entry(web.Nth(1), func(*nf.Entry) {}),
		entry(web.Nth(1), func(e *nf.Entry) { e.Zone = 7 }),
		entry(web.Nth(1), func(e *nf.Entry) {
			e.Zone, e.ZoneDir = 9, nf.Original
			e.Reply.Dst = addrPort("192.0.2.9:1024")
		}),
		entry(web.Nth(2), func(e *nf.Entry) { e.Zone = 8 }),
	} {
		if err := x.env.Table().Create(e); err != nil {
			t.Fatal(err)
		}
	}
	late, err := observe.Open(t.Context(), x.env, observe.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	for _, c := range []struct {
		name   string
		filter nf.Filter
		zones  []uint16
	}{
		{"all", nf.Filter{Tuple: tuple}, []uint16{0, 7, 9}},
		{"reply", nf.Filter{Tuple: tuple.Reverse()}, []uint16{0, 7}},
		{"zone 7", nf.Filter{Tuple: tuple, Zone: nf.InZone(7)}, []uint16{7}},
		{"zone 0", nf.Filter{Tuple: tuple, Zone: nf.InZone(0)}, []uint16{0}},
		{"zone 9", nf.Filter{Tuple: tuple, Zone: nf.InZone(9)}, []uint16{9}},
		{"reply in zone 0 of zone 9", nf.Filter{Tuple: addrTuple("192.0.2.1:80", "192.0.2.9:1024"), Zone: nf.InZone(9)}, []uint16{9}},
		{"state", nf.Filter{Tuple: tuple, Status: nf.Assured, StatusMask: nf.Assured}, nil},
	} {
		for who, o := range map[string]*observe.Observer{"known": x.o, "unknown": late} {
			if diff := cmp.Diff(c.zones, zonesOf(t, o, c.filter)); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", c.name, who, diff)
			}
		}
	}
	if zones, ok := observe.KnownZones(x.o); !ok || !slices.Equal(zones, []uint16{0, 7, 8, 9}) {
		t.Errorf("known zones: %v, %v", zones, ok)
	}
	if zones, ok := observe.KnownZones(late); ok {
		t.Errorf("an Observer of 4 entries that it has not seen come knows their zones: %v", zones)
	}
}

// Few entries of which there are no events are found by procfs: those that a dump lists, whatever their kind.
func TestFewFlowsWithoutEventsAreFoundByProc(t *testing.T) {
	t.Parallel()
	x := manyKinds(t)
	if _, err := os.Stat("/proc/self/net/nf_conntrack"); errors.Is(err, fs.ErrNotExist) {
		needs.Check(t, &nf.UnsupportedError{Need: "CONFIG_NF_CONNTRACK_PROCFS", Hint: "use a kernel that has it", Err: err})
	}
	late, err := observe.Open(t.Context(), x.env, observe.Config{NoEvents: true, NoFrames: true})
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	for name, f := range map[string]nf.Filter{"all": {}, "TCP": {Proto: nf.TCP}, "zone 7": {Zone: nf.InZone(7)}} {
		got, ok := observe.FindByProc(late, f)
		if diff := cmp.Diff(sortedLines(x.entries(f)), sortedLines(got)); diff != "" || !ok {
			t.Errorf("%s: %v (-by events +by procfs):\n%s", name, ok, diff)
		}
	}
	x.sendSYNs(600, web.Nth(100))
	if got, ok := observe.FindByProc(late, nf.Filter{}); ok {
		t.Errorf("%d are more than few", len(got))
	}
}

func zonesOf(t *testing.T, o *observe.Observer, f nf.Filter) (zones []uint16) {
	t.Helper()
	for e, err := range o.Flows(t.Context(), f) {
		if err != nil {
			t.Fatal(err)
		}
		zones = append(zones, e.Zone)
	}
	slices.Sort(zones)
	return zones
}

func addrTuple(src, dst string) nf.Tuple {
	return nf.Tuple{Proto: nf.TCP, Src: addrPort(src), Dst: addrPort(dst)}
}

// BenchmarkFewFlows lists 10 flows without events: by procfs.
func BenchmarkFewFlows(b *testing.B) {
	x := open(b, netnsenv.Config{Silent: true}, func(c *observe.Config) { c.NoEvents = true })
	x.sendSYNs(10, web)
	for b.Loop() {
		if err := lastError(x.o.Flows(b.Context(), nf.Filter{})); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFlowsOfMany lists 10,000 entries, most of the time in the kernel, and finds one of them.
func BenchmarkFlowsOfMany(b *testing.B) {
	x := open(b, netnsenv.Config{Silent: true})
	_, err := x.env.Table().WatchedBy(netnsenv.Watcher{Drain: x.o.Drain}).CreateAll(b.Context(), func(yield func(nf.Entry) bool) {
		for i := range 10_000 {
			if !yield(entry(web.Nth(i), func(*nf.Entry) {})) {
				return
			}
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	for name, f := range map[string]nf.Filter{"all": {}, "one": {Tuple: web.Nth(5000).Tuple(nf.TCP)}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := lastError(x.o.Flows(b.Context(), f)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
