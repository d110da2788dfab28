package packet

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// Flow is one direction of a conversation. Both addresses are of the same family. For protocols without ports, the ports
// are zero.
type Flow struct {
	// Src and Dst are the source and the destination of the packets.
	Src, Dst netip.AddrPort
}

// Reverse returns the flow of the answers.
func (f Flow) Reverse() Flow { return Flow{Src: f.Dst, Dst: f.Src} }

// Tuple returns the conntrack tuple of f's packets in a protocol. For ICMP, whose tuples have type, code and identifier, use
// Packet.Tuple.
func (f Flow) Tuple(p nf.Proto) nf.Tuple { return nf.Tuple{Proto: p, Src: f.Src, Dst: f.Dst} }

// Nth returns f with its source port increased by i ≥ 0. It panics if the port would be more than 65535.
func (f Flow) Nth(i int) Flow {
	if i < 0 {
		panic(fmt.Sprintf("packet: flow number %d is negative", i))
	}
	if free := math.MaxUint16 - int(f.Src.Port()); i > free {
		panic(fmt.Sprintf("packet: source port %d + %d is beyond 65535", f.Src.Port(), i))
	}
	f.Src = netip.AddrPortFrom(f.Src.Addr(), f.Src.Port()+uint16(i))
	return f
}

// String returns "198.18.0.2:10000 > 192.0.2.1:80".
func (f Flow) String() string { return fmt.Sprintf("%v > %v", f.Src, f.Dst) }

// Raw returns a packet between f's addresses with any protocol number and payload: VRRP, ESP, an encapsulated packet (4, 41),
// garbage. It panics if the payload does not fit. The ports of f are not used.
func (f Flow) Raw(p nf.Proto, payload []byte) Packet {
	return mustBuild(network(f.Src.Addr(), f.Dst.Addr(), p), gopacket.Payload(payload))
}

// raw is Raw for a transport header whose checksum it fills in, of a protocol that gopacket does not serialize.
func (f Flow) raw(p nf.Proto, b []byte) Packet {
	addrs := append(f.Src.Addr().Unmap().AsSlice(), f.Dst.Addr().Unmap().AsSlice()...)
	header.SetTransportSum(uint8(p), addrs, b)
	return f.Raw(p, b)
}

// ports returns the beginning of a transport header.
func (f Flow) ports() []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, f.Src.Port()), f.Dst.Port())
}

// network returns the IP header of a packet from src to dst. It panics if the addresses are invalid or differ in family.
func network(src, dst netip.Addr, p nf.Proto) gopacket.SerializableLayer {
	src, dst = src.Unmap(), dst.Unmap()
	switch {
	case !src.IsValid() || !dst.IsValid():
		panic(fmt.Sprintf("packet: no packet from %v to %v: both addresses are needed", src, dst))
	case nf.FamilyOf(src) != nf.FamilyOf(dst):
		panic(fmt.Sprintf("packet: no packet from %v to %v: one is IPv4, one IPv6", src, dst))
	case src.Is4():
		return &layers.IPv4{
			Version: 4, Flags: layers.IPv4DontFragment, TTL: hopLimit, Protocol: layers.IPProtocol(p),
			SrcIP: src.AsSlice(), DstIP: dst.AsSlice(),
		}
	}
	return &layers.IPv6{
		Version: 6, HopLimit: hopLimit, NextHeader: layers.IPProtocol(p),
		SrcIP: src.AsSlice(), DstIP: dst.AsSlice(),
	}
}

// hopLimit is Linux's default, sysctl net.ipv4.ip_default_ttl.
const hopLimit = 64

// mustBuild is Build for layers whose only possible fault is the size of the caller's data.
func mustBuild(ls ...gopacket.SerializableLayer) Packet {
	p, err := Build(ls...)
	if err != nil {
		panic("packet: " + err.Error())
	}
	return p
}
