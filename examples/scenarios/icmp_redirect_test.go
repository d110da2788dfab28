package scenarios

import (
	"net/netip"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Linux, tools/testing/selftests/net/netfilter/conntrack_icmp_related.sh (redir4, redir6): the redirect that a router sends to
// a host about a packet of the host's is RELATED there, in IPv4 and, though it is a message of neighbour discovery, in IPv6
// (since 6.2, 7d7cfb48d813 "netfilter: conntrack: set icmpv6 redirects as RELATED").
func TestRedirectIsRelated(t *testing.T) {
	t.Parallel()
	cfg := host()
	cfg.Probes = []nf.Probe{
		{Name: "redirects", Hook: nf.Input, Match: nf.Match{Proto: nf.ICMP}, State: nf.StateRelated},
		{Name: "IPv6 redirects", Hook: nf.Input, Match: nf.Match{Proto: nf.ICMPv6}, State: nf.StateRelated},
		{Name: "others", Hook: nf.Input, State: nf.StateNew | nf.StateEstablished | nf.StateInvalid | nf.StateUntracked},
	}
	x := ctexp.New(t, cfg)

	for _, a := range []struct {
		network                    string
		host, gateway, better, far netip.Addr
	}{
		{"ip4:icmp", host4, addr("192.0.2.254"), addr("192.0.2.253"), remote4},
		{"ip6:ipv6-icmp", host6, addr("fe80::254"), addr("fe80::253"), remote6},
	} {
		ping := packet.Echo(a.host, a.far, 7, 1, []byte("ping"))
		socket, err := x.Env.Dial(t.Context(), a.network, a.far.String())
		ctexp.Require(t, "open a raw socket", err)
		_, err = socket.Write(ping[len(ping)-12:]) // the header of ICMP and behind it
		ctexp.Require(t, "ping", err)
		sent := x.Expect(packet.Match{Out: "tun0", Src: netip.AddrPortFrom(a.host, 0), Dst: netip.AddrPortFrom(a.far, 0)})
		x.Inject(packet.Packets(packet.Redirect(a.gateway, a.better, sent)))
	}

	want := map[string]uint64{"redirects": 1, "IPv6 redirects": 1, "others": 0}
	if diff := ctexp.Diff(want, x.Tally().Packets); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
