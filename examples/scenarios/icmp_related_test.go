package scenarios

import (
	"net/netip"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Linux, tools/testing/selftests/net/netfilter/conntrack_icmp_related.sh: a client behind a masquerading router pings with
// packets that are too big for a link beyond. The error of the router there goes to the masquerading one and is about a packet
// of that one; it is RELATED and comes to the client, outside and inside, as an error about the client's packet: 576 bytes of
// IPv4 "fragmentation needed", 1280 of IPv6 "packet too big".
func TestFragmentationNeededCrossesAMasqueradingRouter(t *testing.T) {
	t.Parallel()
	cfg := router(table(natAt(nf.Postrouting, when(oif("server"), masquerade()))))
	cfg.Probes = []nf.Probe{
		{Name: "related", Hook: nf.Forward, State: nf.StateRelated},
		{Name: "invalid", Hook: nf.Forward, State: nf.StateInvalid},
	}
	x := ctexp.New(t, cfg)
	onTheWay := packet.TTL(63)

	var want, got []packet.Record
	var sizes []int
	for _, a := range []struct{ client, router, beyond, server netip.Addr }{
		{client4, outer4, addr("198.51.100.10"), server4}, {client6, outer6, addr("2001:db8:2::10"), server6},
	} {
		ping := packet.Echo(a.client, a.server, 7, 1, make([]byte, 1300))
		masked := ping.With(packet.Src(a.router), onTheWay)
		tooBig := packet.PacketTooBig(a.beyond, 1280, masked)
		for _, sent := range []struct {
			link string
			packet.Packet
		}{{"client", ping}, {"server", tooBig}} {
			x.InjectOn(sent.link, packet.Packets(sent.Packet))
			got = append(got, x.Received()...)
		}
		want = append(want,
			masked.On("server", packet.Out),
			packet.PacketTooBig(a.beyond, 1280, ping.With(onTheWay)).With(onTheWay).On("client", packet.Out))
		sizes = append(sizes, len(tooBig))
	}

	if diff := ctexp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := ctexp.Diff([]int{576, 1280}, sizes); diff != "" {
		t.Errorf("sizes (-want +got):\n%s", diff)
	}
	if diff := ctexp.Diff(map[string]uint64{"related": 2, "invalid": 0}, x.Tally().Packets); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
