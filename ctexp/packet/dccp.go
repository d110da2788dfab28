package packet

import (
	"encoding/binary"
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/pktline"
)

// DCCP has the fields of a DCCP packet except its ports (RFC 4340). Sequence numbers have 48 bits. Since 6.17 conntrack
// tracks DCCP without ports (fd72f265bb00, "netfilter: conntrack: remove DCCP protocol support").
type DCCP struct {
	// Type is the packet type.
	Type DCCPType
	// Seq is the sequence number.
	Seq uint64
	// Ack is the acknowledgement number, in all types except request and data.
	Ack uint64
	// Service is the service code of a request or response.
	Service uint32
	// ResetCode is the code of a reset.
	ResetCode uint8
	// Options are written as they are, padded to a multiple of 4 bytes.
	Options []byte
	// Payload follows the header.
	Payload []byte
}

// DCCPType is the type of a DCCP packet.
type DCCPType uint8

// The packet types.
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

// String returns the name of the type as tcpdump prints it: "DCCP-Request".
func (t DCCPType) String() string { return pktline.DCCPType(uint8(t)) }

// DCCP returns the packet m of f. It panics if a number has more than 48 bits, or if the options or the payload do not fit.
func (f Flow) DCCP(m DCCP) Packet {
	const max48 = 1<<48 - 1
	if m.Seq > max48 || m.Ack > max48 {
		panic(fmt.Sprintf("packet: DCCP numbers %d and %d: want at most 48 bits", m.Seq, m.Ack))
	}
	const extended = 1 // sequence numbers of 48 bits (RFC 4340, 5.1)
	b := append(f.ports(), 0, 0, 0, 0, byte(m.Type)<<1|extended, 0)
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
