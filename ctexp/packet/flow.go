package packet

import (
	"fmt"
	"iter"
	"math"
	"net/netip"
	"slices"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Flow is one direction of a conversation: where its packets come from and where they go to. Both addresses are of
// one family. For protocols without ports, the ports are zero.
type Flow struct {
	// Src and Dst are the addresses and ports of its packets.
	Src, Dst netip.AddrPort
}

// Reverse returns the flow of the answers.
func (f Flow) Reverse() Flow { return Flow{Src: f.Dst, Dst: f.Src} }

// Tuple returns the tuple of the packets of f in a protocol, by which entries, lives and filters are named. Those of ICMP
// have no ports: of them Packet.Tuple knows more.
func (f Flow) Tuple(p nf.Proto) nf.Tuple { return nf.Tuple{Proto: p, Src: f.Src, Dst: f.Dst} }

// Nth returns f with its source port raised by i ≥ 0. It panics where that is no port any more.
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

// network returns the header for a packet of the given protocol from src to dst, and panics if there can be none.
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

// mustBuild is Build for packets whose only fault can be the size of what the caller put into them.
func mustBuild(ls ...gopacket.SerializableLayer) Packet {
	p, err := Build(ls...)
	if err != nil {
		panic("packet: " + err.Error())
	}
	return p
}

// Every sequence of this package can be gone through again and gives the same bytes each time, in fresh memory: the
// receiver of a packet may keep it and write to it.

// Each returns what build makes of each of n flows, which are f with its source port raised by one from flow to flow.
// It panics at once if n is negative, f has no packets, or there are not so many ports.
func (f Flow) Each(n int, build func(Flow) Packet) iter.Seq[Packet] {
	checkCount(n)
	if n > 0 {
		f.Nth(n - 1)
		network(f.Src.Addr(), f.Dst.Addr(), 0)
	}
	return func(yield func(Packet) bool) {
		for i := range n {
			if !yield(build(f.Nth(i))) {
				return
			}
		}
	}
}

// SYNs returns a SYN for each of n flows, from f's source port upwards.
func SYNs(n int, f Flow) iter.Seq[Packet] { return f.Each(n, SYN) }

// ACKs returns an ACK for each of n flows, from f's source port upwards.
func ACKs(n int, f Flow) iter.Seq[Packet] { return f.Each(n, ACK) }

// UDPs returns an empty datagram for each of n flows, from f's source port upwards.
func UDPs(n int, f Flow) iter.Seq[Packet] {
	return f.Each(n, func(f Flow) Packet { return f.UDP(nil) })
}

// Packets returns copies of the packets in their order.
func Packets(ps ...Packet) iter.Seq[Packet] {
	return func(yield func(Packet) bool) {
		for _, p := range ps {
			if !yield(slices.Clone(p)) {
				return
			}
		}
	}
}

// Repeat returns n copies of p.
func Repeat(n int, p Packet) iter.Seq[Packet] {
	checkCount(n)
	return func(yield func(Packet) bool) {
		for range n {
			if !yield(slices.Clone(p)) {
				return
			}
		}
	}
}

// Concat returns the packets of all the sequences, one sequence after the other.
func Concat(seqs ...iter.Seq[Packet]) iter.Seq[Packet] {
	for _, seq := range seqs {
		if seq == nil {
			panic("packet: Concat of a nil sequence")
		}
	}
	return func(yield func(Packet) bool) {
		for _, seq := range seqs {
			for p := range seq {
				if !yield(p) {
					return
				}
			}
		}
	}
}

func checkCount(n int) {
	if n < 0 {
		panic(fmt.Sprintf("packet: negative count %d", n))
	}
}
