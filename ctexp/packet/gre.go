package packet

import (
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// GRE has the fields of a GRE packet of version 0 (RFC 2784, 2890).
type GRE struct {
	// Protocol is the EtherType of the payload; zero means that of the payload's IP version.
	Protocol uint16
	// Key and Seq are the key and the sequence number; nil means none.
	Key, Seq *uint32
	// Checksum adds a checksum.
	Checksum bool
	// Payload follows the header.
	Payload []byte
}

// GRE returns the packet m between f's addresses. The ports of f are not used.
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

// PPTP has the fields of a GRE packet of version 1, in which PPTP carries PPP (RFC 2637, 4.1).
type PPTP struct {
	// CallID is the call id of the receiver.
	CallID uint16
	// Seq is the sequence number of a packet with a payload; one without is only an acknowledgement.
	Seq uint32
	// Ack is the acknowledgement number; nil means none.
	Ack *uint32
	// Payload is a PPP frame.
	Payload []byte
}

// PPTP returns the packet m between f's addresses. The ports of f are not used: conntrack identifies the flow by the call
// id, which it learns from the PPTP control connection.
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
