package inject

import (
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// protoText returns the protocol's name in capitals.
func protoText(p nf.Proto) string {
	names := map[nf.Proto]string{
		nf.TCP: "TCP", nf.UDP: "UDP", nf.UDPLite: "UDP-Lite", nf.ICMP: "ICMP", nf.ICMPv6: "ICMPv6", nf.SCTP: "SCTP",
		nf.DCCP: "DCCP", nf.GRE: "GRE", header.ProtoIGMP: "IGMP",
	}
	if n, ok := names[p]; ok {
		return n
	}
	return fmt.Sprintf("protocol %d", uint8(p))
}

// headerLength returns the length of the transport header that l4 begins with, as far as it can be told; 0 where the
// protocol is not known.
func (d *draft) headerLength() int {
	n := 0
	switch d.proto {
	case nf.TCP:
		n = 20
		if len(d.l4) >= 20 {
			n = max(20, int(d.l4[12]>>4)*4)
		}
	case nf.UDP, nf.UDPLite, nf.ICMP, nf.ICMPv6, header.ProtoIGMP:
		n = 8
	case nf.SCTP:
		n = 12
	case nf.DCCP:
		n = 12
		if len(d.l4) >= 12 {
			n = max(12, int(d.l4[4])*4)
		}
	case nf.GRE:
		n = max(4, header.ParseGRE(d.l4).Length)
	}
	return n
}
