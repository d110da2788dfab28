package nf_test

import (
	"net/netip"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func TestDroppedPacketReadsAsALine(t *testing.T) {
	t.Parallel()
	syn := packet.SYN(packet.Flow{Src: netip.MustParseAddrPort("198.18.0.2:10000"), Dst: netip.MustParseAddrPort("192.0.2.1:80")})
	for want, d := range map[string]nf.Dropped{
		"IP_RPFILTER in ip_rcv: tun0 tcp src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80": {Reason: "IP_RPFILTER", Function: "ip_rcv", Link: "tun0", Packet: syn},
		"NO_SOCKET: 7 bytes": {Reason: "NO_SOCKET", Length: 7},
	} {
		if got := d.String(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
