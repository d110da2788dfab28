package inject

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// The errors of ICMP and ICMPv6, by the family of the packet that they are about. They go from the address from, a
// router's or the destination's, to the source of that packet and quote as much of it as Linux does: up to a length of
// 576 bytes in all, in IPv6 1280 (net/ipv4/icmp.c, icmp_send; net/ipv6/icmp.c, icmp6_send). For less, cut it before:
// about[:28]. They panic where about has no whole IP header or from is of the other family.

// Unreachable returns an ICMP "destination unreachable" about a packet. The codes are those of the family:
// layers.ICMPv4CodePort, layers.ICMPv6CodePortUnreachable and so on.
func Unreachable(from netip.Addr, code uint8, about Packet) Packet {
	return icmpError(from, about,
		layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, code),
		layers.CreateICMPv6TypeCode(layers.ICMPv6TypeDestinationUnreachable, code), 0)
}

// PacketTooBig returns an ICMP error about a packet that did not fit into mtu bytes: "fragmentation needed" in IPv4,
// "packet too big" in IPv6.
func PacketTooBig(from netip.Addr, mtu uint32, about Packet) Packet {
	if about.Tuple().Family() == nf.IPv4 && mtu > maxLength {
		panic(fmt.Sprintf("inject: PacketTooBig: an MTU of %d in the 16 bits of IPv4", mtu))
	}
	return icmpError(from, about,
		layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeFragmentationNeeded),
		layers.CreateICMPv6TypeCode(layers.ICMPv6TypePacketTooBig, 0), mtu)
}

// TimeExceeded returns an ICMP error about a packet whose hops were used up in transit, as traceroute sees it.
func TimeExceeded(from netip.Addr, about Packet) Packet {
	return icmpError(from, about,
		layers.CreateICMPv4TypeCode(layers.ICMPv4TypeTimeExceeded, layers.ICMPv4CodeTTLExceeded),
		layers.CreateICMPv6TypeCode(layers.ICMPv6TypeTimeExceeded, layers.ICMPv6CodeHopLimitExceeded), 0)
}

// ParameterProblem returns an ICMP error about a packet with an erroneous field at the offset pointer.
func ParameterProblem(from netip.Addr, pointer uint8, about Packet) Packet {
	word := uint32(pointer)
	if about.Tuple().Family() == nf.IPv4 {
		word <<= 24
	}
	return icmpError(from, about,
		layers.CreateICMPv4TypeCode(layers.ICMPv4TypeParameterProblem, 0),
		layers.CreateICMPv6TypeCode(layers.ICMPv6TypeParameterProblem, layers.ICMPv6CodeErroneousHeaderField), word)
}

// Redirect returns the message of a router that there is a better one for where a packet goes to: gateway. In IPv6
// hosts take it only from a link-local address.
func Redirect(from, gateway netip.Addr, about Packet) Packet {
	from, gateway = from.Unmap(), gateway.Unmap()
	if nf.FamilyOf(gateway) != about.Tuple().Family() {
		panic(fmt.Sprintf("inject: Redirect to %v about %v", gateway, about))
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
	maxICMPv4 = 576  // what every host takes (RFC 1122, 3.3.2)
	maxICMPv6 = 1280 // what every link takes (RFC 8200, 5)
)

// icmpError returns the error with what its type makes of the second word of the header.
func icmpError(from netip.Addr, about Packet, type4 layers.ICMPv4TypeCode, type6 layers.ICMPv6TypeCode, word uint32) Packet {
	t := about.Tuple()
	to := t.Src.Addr()
	if !to.IsValid() {
		panic(fmt.Sprintf("inject: an ICMP error about %v", about))
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

// Quoted returns what the ICMP error or redirect p quotes of the packet that it is about; nil where p is no such message, or
// a cut one. It is mostly only the beginning of that packet, so that its header claims more.
func (p Packet) Quoted() Packet { return slices.Clone(header.Parse(p).Quoted(p)) }
