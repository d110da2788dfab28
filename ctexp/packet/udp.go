package packet

import (
	"encoding/binary"
	"fmt"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/pktline"
)

// UDP returns a datagram of f, empty where payload is nil. It panics if the payload does not fit.
func (f Flow) UDP(payload []byte) Packet {
	return mustBuild(
		network(f.Src.Addr(), f.Dst.Addr(), nf.UDP),
		&layers.UDP{SrcPort: layers.UDPPort(f.Src.Port()), DstPort: layers.UDPPort(f.Dst.Port())},
		gopacket.Payload(payload),
	)
}

// UDPLite returns a datagram of UDP-Lite whose checksum covers its first bytes, the eight of the header included; 0
// covers all of it (RFC 3828). Conntrack calls each of them INVALID, because it checks them with the protocol number of
// UDP (net/netfilter/nf_conntrack_proto_udp.c, udplite_error, as of 6.18), unless net.netfilter.nf_conntrack_checksum is 0.
//
// It panics for a coverage of 1 to 7 bytes or of more than there are: With(UDPLength(n))
// makes such.
func (f Flow) UDPLite(coverage uint16, payload []byte) Packet {
	if coverage > 0 && coverage < 8 || int(coverage) > 8+len(payload) {
		panic(fmt.Sprintf("packet: a coverage of %d bytes in a datagram of %d", coverage, 8+len(payload)))
	}
	b := binary.BigEndian.AppendUint16(f.ports(), coverage)
	return f.raw(nf.UDPLite, append(append(b, 0, 0), payload...))
}

// DCCP is what a DCCP packet has beside its ports (RFC 4340). Sequence numbers have 48 bits. Since 6.17 conntrack tracks it
// without ports (fd72f265bb00, "netfilter: conntrack: remove DCCP protocol support").
type DCCP struct {
	// Type is what the packet is for.
	Type DCCPType
	// Seq is its sequence number.
	Seq uint64
	// Ack is what it acknowledges, in all types but request and data.
	Ack uint64
	// Service is the service code of a request or response.
	Service uint32
	// ResetCode is why a reset was sent.
	ResetCode uint8
	// Options are written as they are, padded to words of four bytes.
	Options []byte
	// Payload is what stands behind the header.
	Payload []byte
}

// DCCPType is the type of a DCCP packet.
type DCCPType uint8

// The types of packets.
const (
	DCCPRequest DCCPType = iota
	DCCPResponse
	DCCPData
	DCCPAck
	DCCPDataAck
	DCCPCloseReq
	DCCPClose
	DCCPReset
	DCCPSync
	DCCPSyncAck
)

// String returns the name of the type as tcpdump has it: "DCCP-Request".
func (t DCCPType) String() string { return pktline.DCCPType(uint8(t)) }

// DCCP returns the packet m of f. It panics where a number has more than 48 bits, or the options or the payload do not
// fit.
func (f Flow) DCCP(m DCCP) Packet {
	const max48 = 1<<48 - 1
	if m.Seq > max48 || m.Ack > max48 {
		panic(fmt.Sprintf("packet: DCCP numbers %d and %d: 48 bits at most", m.Seq, m.Ack))
	}
	const long = 1 // sequence numbers of 48 bits
	b := append(f.ports(), 0, 0, 0, 0, byte(m.Type)<<1|long, 0)
	b = append48(b, m.Seq)
	if m.Type != DCCPRequest && m.Type != DCCPData {
		b = append48(append(b, 0, 0), m.Ack)
	}
	switch m.Type {
	case DCCPRequest, DCCPResponse:
		b = binary.BigEndian.AppendUint32(b, m.Service)
	case DCCPReset:
		b = append(b, m.ResetCode, 0, 0, 0)
	}
	b = append(b, m.Options...)
	b = append(b, make([]byte, -len(b)&3)...)
	if len(b) > 255*4 {
		panic(fmt.Sprintf("packet: a DCCP header of %d bytes is longer than %d", len(b), 255*4))
	}
	b[4] = byte(len(b) / 4)
	return f.raw(nf.DCCP, append(b, m.Payload...))
}

func append48(b []byte, n uint64) []byte {
	return append(b, byte(n>>40), byte(n>>32), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}
