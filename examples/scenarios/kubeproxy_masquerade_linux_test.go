package scenarios

import (
	"net/netip"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

// The ruleset of kubeProxy, both as text and as calls of nftables.Conn: callers from the cluster reach the endpoints in turn
// under their own address; one from outside, marked, under the router's.
func TestKubeProxyBalancesAndMasqueradesInBothRenderings(t *testing.T) {
	t.Parallel()
	first, second := netip.AddrPortFrom(addr("198.51.100.11"), 8080), netip.AddrPortFrom(addr("198.51.100.12"), 8080)
	k := kubeProxy{Proto: "tcp", Endpoints: [2]netip.AddrPort{first, second}}
	for name, rules := range k.renderings() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := ctexp.New(t, router(rules))
			pod := inject.Flow{Src: netip.AddrPortFrom(client4, 4000), Dst: service}
			outside := inject.Flow{Src: netip.AddrPortFrom(server4, 4000), Dst: service}

			x.InjectBy("client", inject.SYNs(2, pod))
			x.InjectBy("server", inject.Packets(inject.SYN(outside)))

			type call struct {
				From netip.Addr
				To   netip.AddrPort
			}
			var got []call
			for _, f := range (observe.FrameMatch{Packet: nf.Match{Out: "server", Proto: nf.TCP}}).Select(x.Frames()) {
				got = append(got, call{f.Tuple().Src.Addr(), f.Tuple().Dst})
			}
			want := []call{{client4, first}, {client4, second}, {outer4, first}}
			if diff := ctexp.Diff(want, got); diff != "" {
				t.Errorf("what reached the endpoints (-want +got):\n%s", diff)
			}
		})
	}
}
