package packet

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// Echo returns an ICMP or, for IPv6 addresses, an ICMPv6 echo request.
func Echo(src, dst netip.Addr, id, seq uint16, payload []byte) Packet {
	return ping{layers.ICMPv4TypeEchoRequest, layers.ICMPv6TypeEchoRequest, id, seq}.packet(src, dst, payload)
}

// EchoReply returns the reply to Echo(dst, src, id, seq, payload).
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

// The functions below return errors of ICMP or ICMPv6, by the family of the packet about. They go from the address from, of a
// router or of the destination, to the source of about, and quote as much of it as Linux does: up to a total length of 576
// bytes, in IPv6 1280 (net/ipv4/icmp.c, icmp_send; net/ipv6/icmp.c, icmp6_send). For a shorter quote pass about[:28]. They
// panic if about has no complete IP header or from is of the other family.

// Unreachable returns an ICMP "destination unreachable" about a packet. The codes differ by family: an unreachable port is 3
// in ICMP and 4 in ICMPv6.
func Unreachable(from netip.Addr, code uint8, about Packet) Packet {
	return icmpError(from, about,
		layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, code),
		layers.CreateICMPv6TypeCode(layers.ICMPv6TypeDestinationUnreachable, code), 0)
}

// PacketTooBig returns an ICMP error about a packet larger than mtu bytes: "fragmentation needed" in IPv4, "packet too big" in
// IPv6. It panics if an mtu of IPv4 has more than 16 bits.
func PacketTooBig(from netip.Addr, mtu uint32, about Packet) Packet {
	if about.Tuple().Family() == nf.IPv4 && mtu > MaxLength {
		panic(fmt.Sprintf("packet: PacketTooBig: an MTU of %d in the 16 bits of IPv4", mtu))
	}
	return icmpError(from, about,
		layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeFragmentationNeeded),
		layers.CreateICMPv6TypeCode(layers.ICMPv6TypePacketTooBig, 0), mtu)
}

// TimeExceeded returns an ICMP error about a packet whose TTL or hop limit was exceeded in transit.
func TimeExceeded(from netip.Addr, about Packet) Packet {
	return icmpError(from, about,
		layers.CreateICMPv4TypeCode(layers.ICMPv4TypeTimeExceeded, layers.ICMPv4CodeTTLExceeded),
		layers.CreateICMPv6TypeCode(layers.ICMPv6TypeTimeExceeded, layers.ICMPv6CodeHopLimitExceeded), 0)
}

// ParameterProblem returns an ICMP error about an erroneous field at the offset pointer of a packet.
func ParameterProblem(from netip.Addr, pointer uint8, about Packet) Packet {
	word := uint32(pointer)
	if about.Tuple().Family() == nf.IPv4 {
		word <<= 24
	}
	return icmpError(from, about,
		layers.CreateICMPv4TypeCode(layers.ICMPv4TypeParameterProblem, 0),
		layers.CreateICMPv6TypeCode(layers.ICMPv6TypeParameterProblem, layers.ICMPv6CodeErroneousHeaderField), word)
}

// Redirect returns the message of a router that gateway is a better next hop for the destination of a packet. In IPv6, hosts
// accept it only from a link-local address.
func Redirect(from, gateway netip.Addr, about Packet) Packet {
	from, gateway = from.Unmap(), gateway.Unmap()
	if nf.FamilyOf(gateway) != about.Tuple().Family() {
		panic(fmt.Sprintf("packet: Redirect to %v about %v", gateway, about))
	}
	if gateway.Is4() {
		word := gateway.As4()
		return icmpError(from, about, layers.CreateICMPv4TypeCode(layers.ICMPv4TypeRedirect, layers.ICMPv4CodeHost), 0,
			binary.BigEndian.Uint32(word[:]))
	}
	dst := about.Tuple().Dst.Addr()
	body := append(append(make([]byte, 4), gateway.AsSlice()...), dst.AsSlice()...) // RFC 4861, 4.5
	quoted := about[:min(len(about), maxICMPv6-40-40-8)&^7]                         // whole words of eight, as ndisc_send_redirect cuts it
	option := append(make([]byte, 8), quoted...)
	option[0], option[1] = 4, byte(len(option)/8) // redirected header
	p := mustBuild(
		network(from, about.Tuple().Src.Addr(), nf.ICMPv6),
		&layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeRedirect, 0)},
		gopacket.Payload(append(body, option...)),
	)
	return p.With(TTL(255))
}

const (
	maxICMPv4 = 576  // what every host can receive (RFC 1122, 3.3.2)
	maxICMPv6 = 1280 // the minimum MTU (RFC 8200, 5)
)

// icmpError returns an ICMP error whose second header word is word.
func icmpError(from netip.Addr, about Packet, type4 layers.ICMPv4TypeCode, type6 layers.ICMPv6TypeCode, word uint32) Packet {
	t := about.Tuple()
	to := t.Src.Addr()
	if !to.IsValid() {
		panic(fmt.Sprintf("packet: ICMP error about %v: no complete IP header", about))
	}
	if t.Family() == nf.IPv6 {
		body := append(binary.BigEndian.AppendUint32(nil, word), about[:min(len(about), maxICMPv6-40-8)]...)
		return mustBuild(network(from, to, nf.ICMPv6), &layers.ICMPv6{TypeCode: type6}, gopacket.Payload(body))
	}
	return mustBuild(
		network(from, to, nf.ICMP),
		&layers.ICMPv4{TypeCode: type4, Id: uint16(word >> 16), Seq: uint16(word)},
		gopacket.Payload(about[:min(len(about), maxICMPv4-20-8)]),
	)
}

// IGMPType is the type of an IGMP message.
type IGMPType uint8

// The types of version 2 (RFC 2236), and the report of version 3 (RFC 9776).
const (
	IGMPQuery    IGMPType = 0x11
	IGMPReport   IGMPType = 0x16
	IGMPLeave    IGMPType = 0x17
	IGMPv3Report IGMPType = 0x22
)

// IGMP returns a message of src about a group. Its destination follows from the type: for a query the group or, if that is
// 0.0.0.0, all hosts; for a report the group; for a leave all routers; for a report of version 3, which joins the group, all
// IGMPv3 routers. It has TTL 1 and the router alert option.
func IGMP(src netip.Addr, t IGMPType, group netip.Addr) Packet {
	group = group.Unmap()
	if !src.Unmap().Is4() || !group.Is4() {
		panic(fmt.Sprintf("packet: IGMP from %v about %v: both must be IPv4; IPv6 uses ICMPv6 instead", src, group))
	}
	dst := group
	b := append([]byte{byte(t), 0, 0, 0}, group.AsSlice()...)
	switch t {
	case IGMPQuery:
		b[1] = 100 // tenths of a second
		if group.IsUnspecified() {
			dst = netip.AddrFrom4([4]byte{224, 0, 0, 1})
		}
	case IGMPLeave:
		dst = netip.AddrFrom4([4]byte{224, 0, 0, 2})
	case IGMPv3Report:
		dst = netip.AddrFrom4([4]byte{224, 0, 0, 22})
		const toExclude = 4 // of no source: a join
		b = append([]byte{byte(t), 0, 0, 0, 0, 0, 0, 1, toExclude, 0, 0, 0}, group.AsSlice()...)
	}
	f := Flow{netip.AddrPortFrom(src, 0), netip.AddrPortFrom(dst, 0)}
	return f.raw(header.ProtoIGMP, b).With(TTL(1), TOS(0xc0), IPOptions(RouterAlert()))
}
