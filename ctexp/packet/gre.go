package packet

import (
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// GRE is what a packet of GRE version 0 has beside its addresses (RFC 2784, 2890). A nil key, sequence number is not
// there.
type GRE struct {
	// Protocol is what the payload is; zero means IPv4 or IPv6, as the payload begins.
	Protocol layers.EthernetType
	Key, Seq *uint32
	Checksum bool
	Payload  []byte
}

// GRE returns the packet m between f's addresses. Its ports are not used.
func (f Flow) GRE(m GRE) Packet {
	if m.Protocol == 0 {
		m.Protocol = layers.EthernetType(header.EtherTypeOf(m.Payload))
	}
	h := &layers.GRE{Protocol: m.Protocol, ChecksumPresent: m.Checksum}
	if m.Key != nil {
		h.KeyPresent, h.Key = true, *m.Key
	}
	if m.Seq != nil {
		h.SeqPresent, h.Seq = true, *m.Seq
	}
	return mustBuild(network(f.Src.Addr(), f.Dst.Addr(), nf.GRE), h, gopacket.Payload(m.Payload))
}

// PPTP is what a packet of GRE version 1 has beside its addresses, in which PPTP carries PPP (RFC 2637, 4.1).
type PPTP struct {
	// CallID is the call of the side that the packet goes to.
	CallID uint16
	// Seq is written where there is a payload; a packet without is an acknowledgement.
	Seq     uint32
	Ack     *uint32 // nil: none
	Payload []byte
}

// PPTP returns the packet m between f's addresses. Its ports are not used: conntrack goes by the call, which it learns
// from PPTP's control connection alone.
func (f Flow) PPTP(m PPTP) Packet {
	h := &layers.GRE{
		Version: 1, Protocol: layers.EthernetTypePPP,
		KeyPresent: true, Key: uint32(len(m.Payload))<<16 | uint32(m.CallID),
		SeqPresent: len(m.Payload) > 0, Seq: m.Seq,
	}
	if m.Ack != nil {
		h.AckPresent, h.Ack = true, *m.Ack
	}
	return mustBuild(network(f.Src.Addr(), f.Dst.Addr(), nf.GRE), h, gopacket.Payload(m.Payload))
}
