package packet

import (
	"encoding/binary"
	"fmt"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// UDP returns a UDP datagram of f. It panics if the payload does not fit.
func (f Flow) UDP(payload []byte) Packet {
	return mustBuild(
		network(f.Src.Addr(), f.Dst.Addr(), nf.UDP),
		&layers.UDP{SrcPort: layers.UDPPort(f.Src.Port()), DstPort: layers.UDPPort(f.Dst.Port())},
		gopacket.Payload(payload),
	)
}

// UDPLite returns a UDP-Lite datagram whose checksum covers its first coverage bytes, including the 8 of the header; 0
// covers all of it (RFC 3828). Conntrack classifies all of them as INVALID, because it checks them with the protocol number
// of UDP (net/netfilter/nf_conntrack_proto_udp.c, udplite_error, as of 6.18), unless net.netfilter.nf_conntrack_checksum
// is 0.
//
// It panics if coverage is 1 to 7 or more than the length of the datagram; With(UDPLength(n)) makes such datagrams.
func (f Flow) UDPLite(coverage uint16, payload []byte) Packet {
	if coverage > 0 && coverage < 8 || int(coverage) > 8+len(payload) {
		panic(fmt.Sprintf("packet: a coverage of %d bytes in a datagram of %d", coverage, 8+len(payload)))
	}
	b := binary.BigEndian.AppendUint16(f.ports(), coverage)
	return f.raw(nf.UDPLite, append(append(b, 0, 0), payload...))
}
