package inject_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// small is an Env in which a packet is cheap, with a link of that kind.
func small(t testing.TB, kind netnsenv.LinkKind) *netnsenv.Env {
	hosts := []netip.Prefix{netip.PrefixFrom(web.Dst.Addr(), 24), netip.PrefixFrom(web6.Dst.Addr(), 64)}
	return open(t, netnsenv.Config{
		Links: []netnsenv.LinkConfig{{Kind: kind, Prefixes: hosts}}, Silent: true, NoPath: true, NoReasons: true,
	})
}

// A kernel takes each packet of a flood, with a table entry for each flow, whatever the link and however many send.
func TestAKernelTakesEachPacketOfAFlood(t *testing.T) {
	t.Parallel()
	for _, kind := range []netnsenv.LinkKind{netnsenv.Auto, netnsenv.Veth} {
		for _, f := range []packet.Flow{web, web6} {
			for _, queues := range []int{1, 2, 4} {
				t.Run(fmt.Sprint(kind, " ", f.Src.Addr(), " ", queues), func(t *testing.T) {
					t.Parallel()
					env := small(t, kind)
					flood := inject.Flood{
						Template: f.UDP([]byte("hello")), N: 5000, Queues: queues,
						Vary: []inject.Vary{{Field: inject.VarySrcPort, Count: 500}, {Field: inject.VarySrc, Count: 4}},
					}
					got, err := flood.Send(t.Context(), env.Links()[0])
					if got.Sent != 5000 || got.Arrived != 5000 || err != nil {
						t.Errorf("%v, %v", got, err)
					}
					if n, err := env.Table().Count(); n != 2000 || err != nil {
						t.Errorf("%d entries, %v; want 2000", n, err)
					}
				})
			}
		}
	}
}

// At a rate, a kernel gets as many packets as there is time for.
func TestAKernelGetsAFloodAtItsRate(t *testing.T) {
	t.Parallel()
	env := small(t, netnsenv.Veth)
	f := inject.Flood{Template: packet.SYN(web), Duration: 50 * time.Millisecond, Rate: 2000}
	got, err := f.Send(t.Context(), env.Links()[0])
	if got.Sent < 1 || got.Sent > 100 || got.Arrived != got.Sent || got.Took < f.Duration || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

// BenchmarkFloodAgainstSend sends the same packets in turn by Send and by Flood and tells how much faster the latter is:
// "x/1" with one queue, "x/2" with two.
func BenchmarkFloodAgainstSend(b *testing.B) {
	const n = 20_000
	flood := inject.Flood{Template: web.UDP(nil), N: n, Vary: []inject.Vary{{Field: inject.VarySrcPort, Count: n}}}
	for _, kind := range []netnsenv.LinkKind{netnsenv.Auto, netnsenv.Veth} {
		b.Run(kind.String(), func(b *testing.B) {
			link := small(b, kind).Links()[0]
			took := [3]time.Duration{}
			for b.Loop() {
				start := time.Now()
				if _, err := inject.New(link).Send(b.Context(), packet.UDPs(n, web)); err != nil {
					b.Fatal(err)
				}
				took[0] += time.Since(start)
				for flood.Queues = 1; flood.Queues <= 2; flood.Queues++ {
					got, err := flood.Send(b.Context(), link)
					if err != nil {
						b.Fatal(err)
					}
					took[flood.Queues] += got.Took
				}
			}
			b.ReportMetric(float64(took[0])/float64(took[1]), "x/1")
			b.ReportMetric(float64(took[0])/float64(took[2]), "x/2")
			b.ReportMetric(float64(took[1].Nanoseconds())/float64(b.N*n), "ns/packet/1")
		})
	}
}
