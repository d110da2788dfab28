package packet

import (
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// GRE is what a packet of GRE version 0 has beside its addresses (RFC 2784, 2890).
type GRE struct {
	// Protocol is the EtherType of the payload; zero means IPv4 or IPv6, as the payload begins.
	Protocol uint16
	// Key and Seq are the key and the sequence number; nil: none.
	Key, Seq *uint32
	// Checksum says that there is one.
	Checksum bool
	// Payload is what stands behind the header.
	Payload []byte
}

// GRE returns the packet m between f's addresses. Its ports are not used.
func (f Flow) GRE(m GRE) Packet {
	if m.Protocol == 0 {
		m.Protocol = header.EtherTypeOf(m.Payload)
	}
	h := &layers.GRE{Protocol: layers.EthernetType(m.Protocol), ChecksumPresent: m.Checksum}
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
	Seq uint32
	// Ack is what is acknowledged; nil: nothing.
	Ack *uint32
	// Payload is a frame of PPP.
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
