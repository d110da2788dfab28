package packet

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// Change is one change of a packet, for With, which panics if the packet does not have the changed field, such as the port of
// an ICMP message or of a fragment that is not the first.
type Change struct {
	name  string
	apply func(*draft)
}

// With returns a copy of p with the changes applied in their order.
//
// Lengths and checksums that are right in p are right in the copy. Wrong ones, and an absent UDP checksum, are taken to be
// intentional and kept. The checksum of a first fragment, which also covers the other fragments, is changed by the
// difference. Bytes after the end of the packet, such as Ethernet padding, are kept.
//
// Changes that may make a packet invalid are applied last, wherever they are in the list: first Version, IHL, TotalLength
// and so on, then Checksum and HeaderChecksum, then Truncate. So a checksum is right over a wrong length.
//
// The packet ends where its header claims, as for the kernel, unless a right checksum over all bytes shows that only the
// length is wrong. An IPv4 header with an impossible length is taken to have 20 bytes.
//
// It panics if p has no complete IPv4 or IPv6 header.
func (p Packet) With(changes ...Change) Packet {
	d := mustTakeApart("With", p)
	for _, c := range changes {
		if c.apply == nil {
			panic("packet: With: an empty Change")
		}
		d.name = c.name
		c.apply(d)
	}
	return d.assemble()
}

// fail panics because the current change is impossible.
func (d *draft) fail(format string, args ...any) {
	panic(fmt.Sprintf("packet: %s: %s", d.name, fmt.Sprintf(format, args...)))
}

// TTL sets the time to live, in IPv6 the hop limit.
func TTL(n uint8) Change {
	return Change{"TTL", func(d *draft) { d.header[d.view.TTLAt()] = n }}
}

// TOS sets the type of service with its ECN bits, in IPv6 the traffic class.
func TOS(n uint8) Change {
	return Change{"TOS", func(d *draft) {
		if d.v6() {
			d.header[0], d.header[1] = 0x60|n>>4, n<<4|d.header[1]&15
		} else {
			d.header[1] = n
		}
	}}
}

// FlowLabel sets the flow label of IPv6, which has 20 bits.
func FlowLabel(n uint32) Change {
	return Change{"FlowLabel", func(d *draft) {
		if !d.v6() {
			d.fail("IPv4 has none")
		}
		if n >= 1<<20 {
			d.fail("%#x has more than 20 bits", n)
		}
		d.header[1] = d.header[1]&0xf0 | byte(n>>16)
		binary.BigEndian.PutUint16(d.header[2:], uint16(n))
	}}
}

// Src sets the source address, which must be of the packet's family.
func Src(a netip.Addr) Change { return Change{"Src", func(d *draft) { d.setAddr(d.view.SrcAt(), a) }} }

// Dst sets the destination address, which must be of the packet's family.
func Dst(a netip.Addr) Change { return Change{"Dst", func(d *draft) { d.setAddr(d.view.DstAt(), a) }} }

func (d *draft) setAddr(at int, a netip.Addr) {
	a = a.Unmap()
	if a.BitLen() != d.view.AddrSize()*8 {
		d.fail("%v is of the other family", a)
	}
	copy(d.header[at:], a.AsSlice())
}

// ID sets the identification of a packet's fragments: of the IPv4 header (16 bits), or of the IPv6 fragment header (32 bits),
// which only fragments have.
func ID(n uint32) Change {
	return Change{"ID", func(d *draft) {
		if !d.v6() {
			if n > MaxLength {
				d.fail("%d has more than 16 bits", n)
			}
			binary.BigEndian.PutUint16(d.header[4:], uint16(n))
			return
		}
		binary.BigEndian.PutUint32(d.fragmentHeader()[4:], n)
	}}
}

// DontFragment sets or clears the Don't Fragment bit of IPv4.
func DontFragment(on bool) Change {
	return Change{"DontFragment", func(d *draft) {
		if d.v6() {
			d.fail("IPv6 has no such bit")
		}
		d.header[6] &^= 0x40
		if on {
			d.header[6] |= 0x40
		}
	}}
}

// IPOptions replaces the options of the IPv4 header, at most 40 bytes; lengths and padding are filled in.
func IPOptions(opts ...IPOption) Change {
	return Change{"IPOptions", func(d *draft) {
		if d.v6() {
			d.fail("IPv6 has extension headers instead: HopByHop, DestinationOptions")
		}
		var b []byte
		for _, o := range opts {
			b = appendOption(b, o.Kind, o.Data)
		}
		b = d.padOptions(b)
		d.header = append(d.header[:20:20], b...)
		d.header[0] = 0x40 | byte(len(d.header)/4)
	}}
}

// appendOption appends an option in the encoding of IPv4 and TCP: kinds 0 and 1 have neither a length nor data.
func appendOption(b []byte, kind byte, data []byte) []byte {
	b = append(b, kind)
	if kind > 1 {
		b = append(append(b, byte(2+len(data))), data...)
	}
	return b
}

// padOptions pads options to a multiple of 4 bytes.
func (d *draft) padOptions(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	if len(b) > maxHeader-20 {
		d.fail("%d bytes of options are more than %d", len(b), maxHeader-20)
	}
	return b
}

// IPOption is an IPv4 option, for the change IPOptions. Lengths and padding are filled in.
type IPOption struct {
	// Kind is the first byte (include/uapi/linux/ip.h, IPOPT_RA and others). 0 and 1 have neither a length nor data.
	Kind uint8
	// Data follows the length byte.
	Data []byte
}

// RouterAlert is the IPv4 option that asks routers to examine packets that are not addressed to them (RFC 2113).
func RouterAlert() IPOption { return IPOption{148, []byte{0, 0}} }

// SrcPort sets the source port of TCP, UDP, UDP-Lite, SCTP or DCCP.
func SrcPort(n uint16) Change { return Change{"SrcPort", func(d *draft) { d.setPort(0, n) }} }

// DstPort sets the destination port of TCP, UDP, UDP-Lite, SCTP or DCCP.
func DstPort(n uint16) Change { return Change{"DstPort", func(d *draft) { d.setPort(2, n) }} }

func (d *draft) setPort(at int, n uint16) {
	if d.fault == header.NoFault && !d.proto.HasPorts() {
		d.fail("%s has no ports", protoText(d.proto))
	}
	binary.BigEndian.PutUint16(d.transport(at, 2), n)
}

// Seq sets the sequence number of TCP, of an ICMP echo (16 bits), or of a GRE packet that has one.
func Seq(n uint32) Change {
	return Change{"Seq", func(d *draft) {
		switch {
		case d.fault != header.NoFault || d.proto == nf.TCP:
			binary.BigEndian.PutUint32(d.transport(4, 4), n)
		case d.proto.IsICMP():
			if n > MaxLength {
				d.fail("%d has more than the 16 bits of an echo", n)
			}
			binary.BigEndian.PutUint16(d.transport(6, 2), uint16(n))
		case d.proto == nf.GRE && header.ParseGRE(d.l4).Seq > 0:
			binary.BigEndian.PutUint32(d.l4[header.ParseGRE(d.l4).Seq:], n)
		default:
			d.fail("this packet of %s has no sequence number", protoText(d.proto))
		}
	}}
}

// Ack sets the acknowledgement number of TCP, even without FlagACK.
func Ack(n uint32) Change {
	return Change{"Ack", func(d *draft) { binary.BigEndian.PutUint32(d.ofTCP(8, 4), n) }}
}

// Flags sets the eight control bits of TCP.
func Flags(f TCPFlags) Change { return Change{"Flags", func(d *draft) { d.ofTCP(13, 1)[0] = byte(f) }} }

// Window sets the window of TCP as in the header, not scaled. Zero is a closed window.
func Window(n uint16) Change {
	return Change{"Window", func(d *draft) { binary.BigEndian.PutUint16(d.ofTCP(14, 2), n) }}
}

// Urgent sets the urgent pointer of TCP, even without FlagURG.
func Urgent(n uint16) Change {
	return Change{"Urgent", func(d *draft) { binary.BigEndian.PutUint16(d.ofTCP(18, 2), n) }}
}

// Options replaces the options of TCP, at most 40 bytes; lengths and padding are filled in.
func Options(opts ...TCPOption) Change {
	return Change{"Options", func(d *draft) {
		d.ofTCP(0, 20)
		var b []byte
		for _, o := range opts {
			b = appendOption(b, o.Kind, o.Data)
		}
		b = d.padOptions(b)
		payload := d.l4[min(d.headerLength(), len(d.l4)):]
		d.l4 = append(append(d.l4[:20:20], b...), payload...)
		d.l4[12] = byte(5+len(b)/4)<<4 | d.l4[12]&15
	}}
}

// ICMPType sets type and code of ICMP or ICMPv6.
func ICMPType(typ, code uint8) Change {
	return Change{"ICMPType", func(d *draft) {
		b := d.ofICMP(0, 2)
		b[0], b[1] = typ, code
	}}
}

// EchoID sets the identifier of an ICMP or ICMPv6 echo.
func EchoID(n uint16) Change {
	return Change{"EchoID", func(d *draft) { binary.BigEndian.PutUint16(d.ofICMP(4, 2), n) }}
}

// Payload replaces everything after the transport header, in SCTP the chunks. In a fragment that is not the first, and for a
// protocol that this package does not know, it replaces everything after the network header.
func Payload(b []byte) Change {
	return Change{"Payload", func(d *draft) {
		n := 0
		if d.fault == header.NoFault {
			if n = d.headerLength(); n > len(d.l4) {
				d.fail("the %s header is truncated", protoText(d.proto))
			}
		}
		d.l4 = append(d.l4[:n:n], b...)
	}}
}

// transport returns n bytes of the transport header. It panics if they are not there.
func (d *draft) transport(at, n int) []byte {
	switch {
	case d.fault != header.NoFault:
		d.fail("there is no transport header: %v", d.fault)
	case len(d.l4) < at+n:
		d.fail("the %s header is truncated after %d bytes", protoText(d.proto), len(d.l4))
	}
	return d.l4[at : at+n]
}

func (d *draft) ofTCP(at, n int) []byte {
	if d.fault == header.NoFault && d.proto != nf.TCP {
		d.fail("a packet of %s is not a TCP segment", protoText(d.proto))
	}
	return d.transport(at, n)
}

func (d *draft) ofICMP(at, n int) []byte {
	if d.fault == header.NoFault && !d.proto.IsICMP() {
		d.fail("a packet of %s is not an ICMP message", protoText(d.proto))
	}
	return d.transport(at, n)
}

// The following changes may make a packet invalid. With applies them after the others.

// Version sets the version field of IP. A tun accepts only 4 and 6 (drivers/net/tun.c, tun_get_user).
func Version(n uint8) Change {
	return Change{"Version", func(d *draft) {
		d.fits(int(n), 15)
		d.wrong = append(d.wrong, func(p Packet) { p[0] = n<<4 | p[0]&15 })
	}}
}

// IHL sets the header length field of IPv4, in words of 4 bytes, without changing the header. 5 is right without options.
func IHL(n uint8) Change {
	return Change{"IHL", func(d *draft) {
		d.only4()
		d.fits(int(n), 15)
		d.wrong = append(d.wrong, func(p Packet) { p[0] = p[0]&0xf0 | n })
	}}
}

// TotalLength sets the length of the whole packet in the network header, in bytes; in IPv6 it sets the payload length, which
// is 40 less.
func TotalLength(n int) Change {
	return Change{"TotalLength", func(d *draft) {
		claim := n
		if d.v6() {
			claim -= len(d.header)
		}
		d.fits(claim, MaxLength)
		d.wrong = append(d.wrong, func(p Packet) { d.setLength(p, n) })
	}}
}

// FragmentOffset sets the fragment offset in bytes, a multiple of 8 up to 65528, and More Fragments. In IPv6 the packet must
// have a fragment header, which Fragment inserts.
func FragmentOffset(offset int, more bool) Change {
	return Change{"FragmentOffset", func(d *draft) {
		if offset%8 != 0 {
			d.fail("%d is not a multiple of 8", offset)
		}
		d.fits(offset, maxOffset)
		if d.v6() {
			h := d.fragmentHeader()
			binary.BigEndian.PutUint16(h[2:], uint16(offset)|bit(more, 1))
			return
		}
		d.wrong = append(d.wrong, func(p Packet) {
			binary.BigEndian.PutUint16(p[6:], uint16(p[6]&0xc0)<<8|bit(more, 0x2000)|uint16(offset/8))
		})
	}}
}

// Proto sets the protocol number in the network header, in IPv6 in the last extension header.
func Proto(n nf.Proto) Change {
	return Change{"Proto", func(d *draft) {
		d.wrong = append(d.wrong, func(p Packet) { p[d.protoAt()] = byte(n) })
	}}
}

// HeaderChecksum sets the checksum of the IPv4 header.
func HeaderChecksum(n uint16) Change {
	return Change{"HeaderChecksum", func(d *draft) {
		d.only4()
		d.sums = append(d.sums, func(p Packet) { binary.BigEndian.PutUint16(p[header.HeaderSumAt:], n) })
	}}
}

// DataOffset sets the header length field of TCP, in words of 4 bytes, without changing the header. 5 is right without
// options.
func DataOffset(n uint8) Change {
	return Change{"DataOffset", func(d *draft) {
		d.ofTCP(0, 20)
		d.fits(int(n), 15)
		d.wrong = append(d.wrong, func(p Packet) { p[d.start()+12] = n<<4 | p[d.start()+12]&15 })
	}}
}

// UDPLength sets the length field of UDP, which counts header and payload; in UDP-Lite it sets the checksum coverage.
func UDPLength(n uint16) Change {
	return Change{"UDPLength", func(d *draft) {
		if d.fault == header.NoFault && d.proto != nf.UDP && d.proto != nf.UDPLite {
			d.fail("a packet of %s is not a datagram", protoText(d.proto))
		}
		d.transport(4, 2)
		d.wrong = append(d.wrong, func(p Packet) { binary.BigEndian.PutUint16(p[d.start()+4:], n) })
	}}
}

// Checksum sets the checksum of the transport header: 32 bits in SCTP, 16 in all others. In UDP over IPv4, 0 means no
// checksum.
func Checksum(n uint32) Change {
	return Change{"Checksum", func(d *draft) {
		at, size := header.SumField(uint8(d.proto), d.transport(0, 0)[:len(d.l4)])
		switch {
		case size == 0:
			d.fail("this packet of %s has none", protoText(d.proto))
		case size == 2 && n > MaxLength:
			d.fail("%#x has more than 16 bits", n)
		}
		d.sums = append(d.sums, func(p Packet) { header.PutSum(p[d.start()+at:][:size], n) })
	}}
}

// Truncate cuts the packet to its first n bytes without changing lengths in the headers.
func Truncate(n int) Change {
	return Change{"Truncate", func(d *draft) {
		if n < 0 {
			d.fail("%d is negative", n)
		}
		d.cut = n
	}}
}

// fits panics if n is not in 0 to max.
func (d *draft) fits(n, max int) {
	if n < 0 || n > max {
		d.fail("%d does not fit: want 0 to %d", n, max)
	}
}

func (d *draft) only4() {
	if d.v6() {
		d.fail("IPv6 has none")
	}
}

// bit returns b if on is true, else 0.
func bit(on bool, b uint16) uint16 {
	if on {
		return b
	}
	return 0
}

// The following changes insert an extension header of IPv6 directly before the transport header, in a fragment before the
// fragment header, so that all fragments have it. A hop-by-hop header is inserted before all others.

// HopByHop inserts a header with options for every router, written as they are and padded. Without options it is all padding.
func HopByHop(options ...byte) Change {
	return Change{"HopByHop", func(d *draft) { d.insert(header.ProtoHopByHop, padded(options)) }}
}

// DestinationOptions inserts a header with options for the destination, written as they are and padded.
func DestinationOptions(options ...byte) Change {
	return Change{"DestinationOptions", func(d *draft) { d.insert(header.ProtoDestination, padded(options)) }}
}

// Routing inserts a routing header of a type with segmentsLeft and type-specific data, whose length must be 4 more than a
// multiple of 8. A segment routing header of one segment is Routing(4, 0, append(make([]byte, 4), segment.AsSlice()...)...).
// Checksums always use the destination in the network header, as netfilter does.
func Routing(typ, segmentsLeft uint8, data ...byte) Change {
	return Change{"Routing", func(d *draft) { d.insert(header.ProtoRouting, append([]byte{typ, segmentsLeft}, data...)) }}
}

// AH inserts an authentication header with a security parameters index, a sequence number and an integrity check value,
// whose length must be 4 more than a multiple of 8. For IPv4 use Flow.Raw.
func AH(spi, seq uint32, icv ...byte) Change {
	return Change{"AH", func(d *draft) {
		b := binary.BigEndian.AppendUint32([]byte{0, 0}, spi)
		d.insert(header.ProtoAH, append(binary.BigEndian.AppendUint32(b, seq), icv...))
	}}
}

// padded returns options padded so that with the 2 bytes before them their length is a multiple of 8.
func padded(options []byte) []byte {
	b := append([]byte(nil), options...)
	switch n := (6 - len(b)) & 7; n {
	case 0:
	case 1:
		b = append(b, 0) // Pad1
	default:
		b = append(append(b, 1, byte(n-2)), make([]byte, n-2)...) // PadN
	}
	return b
}

// insert adds an extension header; body follows its length byte.
func (d *draft) insert(p nf.Proto, body []byte) {
	if !d.v6() {
		d.fail("IPv4 has no extension headers")
	}
	b := append([]byte{0, 0}, body...)
	if len(b)%8 != 0 || len(b) > 256*8 {
		d.fail("the header has %d bytes: want a multiple of 8, up to %d", len(b), 256*8)
	}
	b[1] = byte(len(b)/8 - 1)
	if p == header.ProtoAH {
		b[1] = byte(len(b)/4 - 2) // RFC 4302, 2.2
	}
	at := len(d.ext)
	for i, e := range d.ext {
		if e.proto == header.ProtoFragment {
			at = i
			break
		}
	}
	if p == header.ProtoHopByHop {
		at = 0
	}
	d.ext = append(d.ext[:at:at], append([]extension{{p, b}}, d.ext[at:]...)...)
}
