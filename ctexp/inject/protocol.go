package inject

import (
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// protoIGMP is the number of the protocol, which conntrack knows by the generic tracker alone.
const protoIGMP nf.Proto = 2

// The extension headers of IPv6.
const (
	protoHopByHop    = 0
	protoRouting     = 43
	protoFragment    = 44
	protoAH          = 51
	protoDestination = 60
)

// protoText returns the protocol's name in capitals.
func protoText(p nf.Proto) string {
	names := map[nf.Proto]string{
		nf.TCP: "TCP", nf.UDP: "UDP", nf.UDPLite: "UDP-Lite", nf.ICMP: "ICMP", nf.ICMPv6: "ICMPv6", nf.SCTP: "SCTP",
		nf.DCCP: "DCCP", nf.GRE: "GRE", protoIGMP: "IGMP",
	}
	if n, ok := names[p]; ok {
		return n
	}
	return fmt.Sprintf("protocol %d", uint8(p))
}

// extensionLength returns how many bytes the extension header of type next has, which b begins with; 0 if next is
// none, at least 8 if it is (net/ipv6/exthdrs_core.c, ipv6_skip_exthdr).
func extensionLength(next byte, b []byte) int {
	unit := 0
	switch next {
	case protoHopByHop, protoRouting, protoDestination:
		unit = 8
	case protoAH:
		unit = 4
	case protoFragment:
	default:
		return 0
	}
	if len(b) < 2 {
		return 8
	}
	return 8 + int(b[1])*unit
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
	case nf.UDP, nf.UDPLite, nf.ICMP, nf.ICMPv6, protoIGMP:
		n = 8
	case nf.SCTP:
		n = 12
	case nf.DCCP:
		n = 12
		if len(d.l4) >= 12 {
			n = max(12, int(d.l4[4])*4)
		}
	case nf.GRE:
		n = max(4, greField(d.l4, greEnd))
	}
	return n
}
