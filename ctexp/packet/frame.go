package packet

import (
	"encoding/binary"
	"fmt"
	"iter"
	"net/netip"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/pktline"
)

// Frame is one Ethernet frame without its checksum. Like a Packet it need not be valid.
type Frame []byte

// Frame returns p in an Ethernet frame from src to dst. The EtherType is that of p's IP version; IPv4 if the version is
// neither.
func (p Packet) Frame(src, dst nf.MAC) Frame {
	return ethernetFrame(src, dst, header.EtherTypeOf(p), p)
}

func ethernetFrame(src, dst nf.MAC, typ uint16, payload []byte) Frame {
	f := make(Frame, 0, header.EthernetSize+len(payload))
	f = append(append(f, dst[:]...), src[:]...)
	f = binary.BigEndian.AppendUint16(f, typ)
	return append(f, payload...)
}

// VLAN returns a copy of f with an 802.1Q tag in front of its other tags. It panics if id has more than 12 bits or f has no
// complete header.
func (f Frame) VLAN(id uint16) Frame {
	if id >= 1<<12 || len(f) < header.EthernetSize {
		panic(fmt.Sprintf("packet: VLAN %d on %v", id, f))
	}
	tag := []byte{header.EtherTypeVLAN >> 8, header.EtherTypeVLAN & 0xff, byte(id >> 8), byte(id)}
	return slices.Insert(slices.Clone(f), 12, tag...)
}

// Packet returns a copy of the IP packet in f, after any tags; nil if f carries another protocol.
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

// String returns one line like that of tcpdump -e:
//
//	02:00:00:00:00:02 > 02:00:00:00:00:01, vlan 5, IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, …
func (f Frame) String() string { return pktline.FormatFrame(f) }

// ARPRequest returns the broadcast frame in which the owner of srcMAC and src asks for the Ethernet address of target.
func ARPRequest(srcMAC nf.MAC, src, target netip.Addr) Frame {
	broadcast := nf.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	return ethernetFrame(srcMAC, broadcast, header.EtherTypeARP, arp(1, srcMAC, src, nf.MAC{}, target))
}

// ARPReply returns the frame in which the owner of srcMAC and src answers the request of dstMAC and dst.
func ARPReply(srcMAC nf.MAC, src netip.Addr, dstMAC nf.MAC, dst netip.Addr) Frame {
	return ethernetFrame(srcMAC, dstMAC, header.EtherTypeARP, arp(2, srcMAC, src, dstMAC, dst))
}

// arp returns an ARP message (RFC 826) for IPv4 over Ethernet.
func arp(op byte, srcMAC nf.MAC, src netip.Addr, dstMAC nf.MAC, dst netip.Addr) []byte {
	src, dst = src.Unmap(), dst.Unmap()
	if !src.Is4() || !dst.Is4() {
		panic(fmt.Sprintf("packet: ARP from %v to %v: both must be IPv4", src, dst))
	}
	b := []byte{0, 1, header.EtherTypeIPv4 >> 8, header.EtherTypeIPv4 & 0xff, 6, 4, 0, op}
	b = append(append(b, srcMAC[:]...), src.AsSlice()...)
	return append(append(b, dstMAC[:]...), dst.AsSlice()...)
}
