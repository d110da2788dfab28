package packet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"net/netip"
	"slices"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/pktline"
)

// Packet is one packet, beginning with its IPv4 or IPv6 header. Any bytes will do: Build makes whole packets, and
// what is sent on purpose as garbage may be written as a literal.
type Packet []byte

// String returns one line in the manner of tcpdump:
//
//	IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0
func (p Packet) String() string { return pktline.Format(p) }

// Tuple returns the tuple by which conntrack knows the packet's direction, before any NAT. It is zero where p has no
// whole IPv4 or IPv6 header.
func (p Packet) Tuple() nf.Tuple {
	t, _ := nf.TupleOf(p)
	return t
}

// Data returns what p carries behind the header of TCP, UDP or ICMP, options of TCP passed over; nil where that is cut. Of
// other protocols it is all behind the headers of the network layer. The bytes are those of p.
func (p Packet) Data() []byte {
	v := header.Parse(p)
	b := v.Body(p)
	switch v.Proto {
	case header.ProtoTCP, header.ProtoUDP, header.ProtoICMP, header.ProtoICMPv6:
		return header.Data(v.Proto, b)
	}
	return b
}

// Quoted returns what the ICMP error or redirect p quotes of the packet that it is about; nil where p is no such message, or
// a cut one. It is mostly only the beginning of that packet, so that its header claims more.
func (p Packet) Quoted() Packet { return slices.Clone(p.quoted()) }

// quoted is Quoted in place.
func (p Packet) quoted() Packet { return header.Parse(p).Quoted(p) }

// ChecksumError says which checksum of p is wrong; nil if none. That of a fragment's transport header cannot be told, and in
// UDP over IPv4 there may be none.
func (p Packet) ChecksumError() error {
	d, err := takeApart(p)
	if err != nil {
		return nil
	}
	if !d.v6() && !d.right.headerSum {
		return errors.New("wrong in the IPv4 header")
	}
	field := d.sumField(d.l4)
	if d.part || d.fault != header.NoFault || len(field) == 0 || d.right.l4Sum {
		return nil
	}
	got, want := header.GetSum(field), d.rightSum(d.l4)
	if d.proto == nf.UDP && got == 0 && !d.v6() {
		return nil // RFC 768: there is none
	}
	return fmt.Errorf("%#x is wrong for %v, %#x right", got, d.proto, want)
}

// Decode returns the layers of p, which is copied. It never panics: what cannot be decoded stands in the result's
// ErrorLayer, behind the layers that can. gopacket goes by port numbers, so that a payload to port 53 is an error there
// unless it is DNS.
func Decode(p Packet) gopacket.Packet { return pktline.Decode(p) }

// Flow is one direction of a conversation: where its packets come from and where they go to. Both addresses are of
// one family. For protocols without ports, the ports are zero.
type Flow struct {
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

// Every sequence of this package can be gone through again and gives the same bytes each time, in fresh memory: who
// receives a packet may keep it and write to it.

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

// Frame is one frame of Ethernet, without its checksum. Any bytes will do, as with Packet.
type Frame []byte

// Frame returns p in a frame from one address of Ethernet to another. The type is that of p's IP version, IPv4 where it
// has none.
func (p Packet) Frame(src, dst nf.MAC) Frame {
	return ethernetFrame(src, dst, header.EtherTypeOf(p), p)
}

func ethernetFrame(src, dst nf.MAC, typ uint16, payload []byte) Frame {
	f := make(Frame, 0, header.EthernetSize+len(payload))
	f = append(append(f, dst[:]...), src[:]...)
	f = binary.BigEndian.AppendUint16(f, typ)
	return append(f, payload...)
}

// VLAN returns a copy of f with a tag of 802.1Q in front of those that it has. It panics where id has more than 12 bits
// or f no whole header.
func (f Frame) VLAN(id uint16) Frame {
	if id >= 1<<12 || len(f) < header.EthernetSize {
		panic(fmt.Sprintf("packet: VLAN %d on %v", id, f))
	}
	tag := []byte{header.EtherTypeVLAN >> 8, header.EtherTypeVLAN & 0xff, byte(id >> 8), byte(id)}
	return slices.Insert(slices.Clone(f), 12, tag...)
}

// Packet returns the packet in f, whose tags are passed over; nil if it carries something else.
func (f Frame) Packet() Packet {
	h := header.ParseFrame(f)
	if h.EtherType != header.EtherTypeIPv4 && h.EtherType != header.EtherTypeIPv6 {
		return nil
	}
	return slices.Clone(Packet(f[h.Payload:]))
}

// Frames returns copies of the frames in their order.
func Frames(fs ...Frame) iter.Seq[Frame] {
	return func(yield func(Frame) bool) {
		for _, f := range fs {
			if !yield(slices.Clone(f)) {
				return
			}
		}
	}
}

// String returns one line in the manner of tcpdump -e:
//
//	02:00:00:00:00:02 > 02:00:00:00:00:01, vlan 5, IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, …
func (f Frame) String() string { return pktline.FormatFrame(f) }

// ARPRequest returns the frame by which the owner of an Ethernet and an IPv4 address asks everybody who has another one.
func ARPRequest(srcMAC nf.MAC, src, who netip.Addr) Frame {
	broadcast := nf.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	return ethernetFrame(srcMAC, broadcast, header.EtherTypeARP, arp(1, srcMAC, src, nf.MAC{}, who))
}

// ARPReply returns the answer by which the owner of an Ethernet and an IPv4 address tells them to another.
func ARPReply(srcMAC nf.MAC, src netip.Addr, dstMAC nf.MAC, dst netip.Addr) Frame {
	return ethernetFrame(srcMAC, dstMAC, header.EtherTypeARP, arp(2, srcMAC, src, dstMAC, dst))
}

// arp returns the body of a message (RFC 826) between Ethernet and IPv4.
func arp(op byte, srcMAC nf.MAC, src netip.Addr, dstMAC nf.MAC, dst netip.Addr) []byte {
	src, dst = src.Unmap(), dst.Unmap()
	if !src.Is4() || !dst.Is4() {
		panic(fmt.Sprintf("packet: ARP between %v and %v: it is for IPv4", src, dst))
	}
	b := []byte{0, 1, header.EtherTypeIPv4 >> 8, header.EtherTypeIPv4 & 0xff, 6, 4, 0, op}
	b = append(append(b, srcMAC[:]...), src.AsSlice()...)
	return append(append(b, dstMAC[:]...), dst.AsSlice()...)
}
