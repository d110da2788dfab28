package guides

import (
	"net/netip"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/ctexp/peer"
)

// gateway is a router that masquerades what leaves to the internet, and sends port 8080 of its outer address to a server inside.
var gateway = netnsenv.Config{
	Links: []netnsenv.LinkConfig{
		{Name: "wan", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}, Routes: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}},
		{Name: "lan", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}},
	},
	Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
	Rules: []netnsenv.Ruleset{netnsenv.NFT(`
table ip nat {
	chain prerouting {
		type nat hook prerouting priority dstnat;
		iifname "wan" tcp dport 8080 dnat to 10.0.0.80:80
	}
	chain postrouting {
		type nat hook postrouting priority srcnat;
		oifname "wan" masquerade
	}
}`)},
}

var (
	inside  = netip.MustParseAddrPort("10.0.0.2:4000")
	outside = netip.MustParseAddrPort("198.51.100.7:443")
)

// The test plays both ends of a connection, and the gateway is between them.
func TestConnectionThroughTheGateway(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, gateway)
	client := x.TCP("lan", packet.Flow{Src: inside, Dst: outside})
	server := x.TCP("wan", packet.Flow{Src: outside})

	x.Handshake(client, server)
	client.Write([]byte("ping"))
	got := server.Expect(peer.Segment{Payload: []byte("ping")})

	if want := netip.MustParseAddrPort("192.0.2.1:4000"); got.Tuple().Src != want {
		x.Errorf("the server sees %v, want %v", got.Tuple().Src, want)
	}
	e := x.Flow(packet.Flow{Src: inside, Dst: outside}.Tuple(nf.TCP))
	if got, want := e.NAT().String(), "src 10.0.0.2:4000 to 192.0.2.1:4000"; got != want {
		x.Errorf("the entry translates %s, want %s", got, want)
	}
}

// Two hosts that use the same port get different ones outside.
func TestPortsDoNotCollide(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, gateway)
	other := netip.MustParseAddrPort("10.0.0.3:4000")

	x.InjectOn("lan", packet.Packets(
		packet.SYN(packet.Flow{Src: inside, Dst: outside}),
		packet.SYN(packet.Flow{Src: other, Dst: outside}),
	))

	first := x.Expect(packet.Match{Out: "wan", Dst: outside})
	second := x.Expect(packet.Match{Out: "wan", Dst: outside})
	if a, b := first.Tuple().Src, second.Tuple().Src; a.Port() != 4000 || b.Port() == 4000 || a.Addr() != b.Addr() {
		x.Errorf("they are %v and %v outside", a, b)
	}
}

// A port that is sent on reaches the server inside, and answers have the outer address.
func TestForwardedPort(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, gateway)
	client := x.TCP("wan", packet.Flow{Src: outside, Dst: netip.MustParseAddrPort("192.0.2.1:8080")})
	server := x.TCP("lan", packet.Flow{Src: netip.MustParseAddrPort("10.0.0.80:80")})

	x.Handshake(client, server)
	server.Write([]byte("hello"))
	client.Expect(peer.Segment{Payload: []byte("hello")})
	x.Teardown(client, server)
}
