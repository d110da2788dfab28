// Package observer shows what one can know of an experiment, a test for each kind of knowledge.
package observer

import (
	"net/netip"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func TestMain(m *testing.M) { ctexp.Main(m) }

// web is a flow from a client to a server; flow is what conntrack calls it.
var (
	web = packet.Flow{
		Src: netip.MustParseAddrPort("198.18.0.2:10000"),
		Dst: netip.MustParseAddrPort("192.0.2.1:80"),
	}
	flow = web.Tuple(nf.TCP)
)

// router is a host that forwards between the client, behind tun0, and the server, behind tun1.
func router() netnsenv.Config {
	return netnsenv.Config{
		Links: []netnsenv.LinkConfig{
			{Prefixes: []netip.Prefix{netip.MustParsePrefix("198.18.0.1/24")}},
			{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.254/24")}},
		},
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
	}
}

// handshake opens a connection.
func handshake() []packet.Packet {
	return []packet.Packet{packet.SYN(web), packet.SYNACK(web.Reverse()), packet.ACK(web)}
}
