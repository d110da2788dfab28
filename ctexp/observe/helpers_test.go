package observe

import (
	"net/netip"

	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/header"
)

var (
	client = netip.MustParseAddrPort("198.18.0.2:10003")
	server = netip.MustParseAddrPort("192.0.2.1:80")
	visit  = packet.Flow{Src: client, Dst: server}
)

// frame is a packet on a link.
func frame(link string, d packet.Dir, p packet.Packet) packet.Record {
	return packet.Record{Link: link, Dir: d, EtherType: header.EtherTypeOf(p), Packet: p}
}
