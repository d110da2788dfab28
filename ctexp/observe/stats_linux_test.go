package observe_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/kernel"
)

func (l lab) stats() observe.Stats {
	l.Helper()
	s, err := l.o.Stats(l.Context())
	if err != nil {
		l.Fatal(err)
	}
	return s
}

// Each statistic once that the kernel counts, and one that it does not count.
func TestStatsCountSinceTheObserverWasOpened(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	if err := x.env.Table().Create(entry(web.Nth(9), func(*nf.Entry) {})); err != nil {
		t.Fatal(err)
	}
	badEcho := packet.Echo(web.Src.Addr(), web.Dst.Addr(), 1, 1, nil)
	badEcho[22]++ // its checksum

	x.send(
		packet.SYN(web), packet.SYN(web), // a new flow and a retransmission: nothing
		web.Nth(1).TCP(packet.TCP{}), // a first packet without flags
		badEcho,
	)

	none := observe.Stats{NoChainTooLong: !kernel.ChainTooLong.Here()}
	want := none
	want.Insert, want.Invalid, want.Error = 1, 1, 1
	if diff := cmp.Diff(want, x.stats()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	before := x.stats()
	x.send(web.Nth(1).TCP(packet.TCP{}))
	want = none
	want.Invalid = 1
	if diff := cmp.Diff(want, x.stats().Sub(before)); diff != "" {
		t.Errorf("after another packet (-want +got):\n%s", diff)
	}
}

// The entries of the filler were inserted before the Observer was opened.
func TestStatsOfAFullTable(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, Room: netnsenv.Free(0)})
	x.sendSYNs(3, web)
	got := x.stats()
	if got.Drop+got.EarlyDrop < 3 || got.Insert != 0 {
		t.Errorf("3 SYNs into a full table: %v", got)
	}
}

func BenchmarkStats(b *testing.B) {
	x := open(b, netnsenv.Config{Silent: true})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := x.o.Stats(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
