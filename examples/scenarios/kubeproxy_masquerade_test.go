package scenarios

import (
	"net/netip"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// The ruleset of kubeProxy does the same as text and as calls of nftables.Conn: callers from the cluster reach the endpoints
// in turn under their own address; one from outside, marked, under the router's.
func TestKubeProxyBalancesAndMasqueradesInBothRenderings(t *testing.T) {
	t.Parallel()
	first, second := netip.AddrPortFrom(addr("198.51.100.11"), 8080), netip.AddrPortFrom(addr("198.51.100.12"), 8080)
	k := kubeProxy{Proto: "tcp", Endpoints: [2]netip.AddrPort{first, second}}
	pod := packet.Flow{Src: netip.AddrPortFrom(client4, 4000), Dst: service}
	outside := packet.Flow{Src: netip.AddrPortFrom(server4, 4000), Dst: service}

	c, err := ctexp.Compare(t.Context(), router(), []ctexp.Policy{
		{Name: "text", Rules: []netnsenv.Ruleset{k.text()}}, {Name: "nftables.Conn", Rules: []netnsenv.Ruleset{k.conn()}},
	}, packet.Packets(packet.SYN(pod), packet.SYN(pod.Nth(1)), packet.SYN(outside)))
	ctexp.Require(t, "compare", err)

	if diff := c.Diff(); diff != "" {
		t.Errorf("the renderings differ:\n%s", diff)
	}
	var got []packet.Flow
	for _, p := range c.Packets {
		for _, out := range p.Outcomes[0].Out {
			sent := out.Packet.Tuple()
			got = append(got, packet.Flow{Src: sent.Src, Dst: sent.Dst})
		}
	}
	want := []packet.Flow{
		{Src: pod.Src, Dst: first}, {Src: pod.Nth(1).Src, Dst: second}, {Src: netip.AddrPortFrom(outer4, 4000), Dst: first},
	}
	if diff := ctexp.Diff(want, got); diff != "" {
		t.Errorf("what reached the endpoints (-want +got):\n%s", diff)
	}
}
