package inject

import (
	"net/netip"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Echo returns an echo request, of ICMP or of ICMPv6 as the addresses have it.
func Echo(src, dst netip.Addr, id, seq uint16, payload []byte) Packet {
	return ping{layers.ICMPv4TypeEchoRequest, layers.ICMPv6TypeEchoRequest, id, seq}.packet(src, dst, payload)
}

// EchoReply returns the answer to Echo(dst, src, id, seq, payload).
func EchoReply(src, dst netip.Addr, id, seq uint16, payload []byte) Packet {
	return ping{layers.ICMPv4TypeEchoReply, layers.ICMPv6TypeEchoReply, id, seq}.packet(src, dst, payload)
}

// ping is an echo message of either family.
type ping struct {
	type4, type6 uint8
	id, seq      uint16
}

func (e ping) packet(src, dst netip.Addr, payload []byte) Packet {
	if nf.FamilyOf(src) == nf.IPv6 {
		return mustBuild(
			network(src, dst, nf.ICMPv6),
			&layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(e.type6, 0)},
			&layers.ICMPv6Echo{Identifier: e.id, SeqNumber: e.seq},
			gopacket.Payload(payload),
		)
	}
	return mustBuild(
		network(src, dst, nf.ICMP),
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(e.type4, 0), Id: e.id, Seq: e.seq},
		gopacket.Payload(payload),
	)
}
