// Package header reads the headers of packets: where a packet of IPv4 or IPv6 has its extension headers, its fragment
// and its transport header (View), what an Ethernet frame has in front of its payload (Frame), and the checksums. It is
// the only code here that walks them; where Linux and a specification differ, it reads as Linux does.
//
// A View and a Frame are plain values of offsets into the bytes that they were read from. Reading allocates nothing.
package header

import (
	"encoding/binary"
	"iter"
	"net/netip"
)

// Protocol numbers (include/uapi/linux/in.h, include/net/ipv6.h). They are untyped, for nf.Proto as well as for uint8.
const (
	ProtoHopByHop    = 0
	ProtoICMP        = 1
	ProtoIGMP        = 2
	ProtoIPIP        = 4
	ProtoTCP         = 6
	ProtoUDP         = 17
	ProtoDCCP        = 33
	ProtoIPv6        = 41
	ProtoRouting     = 43
	ProtoFragment    = 44
	ProtoGRE         = 47
	ProtoAH          = 51
	ProtoICMPv6      = 58
	ProtoNoNext      = 59
	ProtoDestination = 60
	ProtoSCTP        = 132
	ProtoUDPLite     = 136
)

// Lengths of headers without options.
const (
	IPv4Size     = 20
	IPv6Size     = 40
	FragmentSize = 8
)

// Fault is the reason why a packet has no transport header that can be read. The constants stand in the order of how much is
// known of the packet, which HasHeader and HasAddrs go by.
type Fault uint8

const (
	// NoFault: the transport header begins at View.Transport, as far as there are bytes.
	NoFault Fault = iota
	// LaterFragment: the packet is a fragment, and not the first one.
	LaterFragment
	// CutExtension: an extension header of IPv6 is longer than the packet. View.Proto is its number.
	CutExtension
	// BadLength: the total length of IPv4 is less than the header's.
	BadLength
	// BadHeaderLength: the header length of IPv4 is less than 20 bytes.
	BadHeaderLength
	// CutOptions: the header length of IPv4 is more than the bytes that are there, which are 20 at least.
	CutOptions
	// CutHeader: there are less than the 20 bytes of IPv4 or the 40 of IPv6.
	CutHeader
	// BadVersion: the version is neither 4 nor 6.
	BadVersion
	// Empty: there are no bytes.
	Empty
)

// String returns the fault as the end of a sentence about the packet.
func (f Fault) String() string {
	return [...]string{
		"there is no fault", "it is a later fragment", "its extension headers are cut", "its length is less than its header's",
		"its header length is wrong", "its header length is wrong", "its header is cut", "its IP version is neither 4 nor 6",
		"it is empty",
	}[f]
}

// View says where a packet has what. All places are offsets into the packet. Without addresses (HasAddrs) it has nothing but
// the Fault, and with a CutHeader the Version.
type View struct {
	// Version is 4 or 6.
	Version uint8
	// Fault is the reason why there is no transport header.
	Fault Fault
	// Proto is the protocol behind all headers of the network layer. With a CutExtension it is the number of that header.
	Proto uint8
	// More reports that other fragments follow this one.
	More bool
	// FragOffset is the offset of a fragment in bytes.
	FragOffset int
	// FragID is the identification of IPv4, or that of the first fragment header of IPv6.
	FragID uint32
	// Fragment is where the first fragment header of IPv6 begins; 0 without.
	Fragment int
	// Header is the length of the network header as that claims it, without the extension headers of IPv6.
	Header int
	// Transport is where what is behind the headers of the network layer begins, whether that is a transport header or
	// not: the body of a later fragment, an extension header that is cut. It is 20 where the header length of IPv4 is wrong.
	Transport int
	// End is where the packet ends: as its header claims it, or where the bytes end. What is behind is a trailer, such as
	// the padding of Ethernet. It is not less than Transport.
	End int
	// Length is the length of the whole packet as its header claims it; of a jumbogram of IPv6, which claims none there, 40.
	Length int
}

// Parse reads the headers of the network layer that b begins with.
//
// A packet ends where its header claims, since that is where Linux cuts it before anything else looks at it
// (net/ipv4/ip_input.c, ip_rcv_core; net/ipv6/ip6_input.c, ip6_rcv_core). Extension headers are passed over as
// net/ipv6/exthdrs_core.c, ipv6_skip_exthdr does it, but a header that is not whole is the end: what is behind it is not
// there, and Linux drops the packet when it comes to it (net/ipv6/exthdrs.c, ipv6_destopt_rcv). The protocol of a later
// fragment is the one that its fragment header names (ipv6_find_hdr).
func Parse(b []byte) (v View) {
	v.parse(b, false)
	return v
}

// ParseAll is Parse for a packet whose length field is known to be wrong: it ends where b does.
func ParseAll(b []byte) (v View) {
	v.parse(b, true)
	return v
}

func (v *View) parse(b []byte, all bool) {
	switch version := Version(b); {
	case len(b) == 0:
		v.Fault = Empty
	case version == 4 && len(b) >= IPv4Size:
		v.parse4(b, all)
	case version == 6 && len(b) >= IPv6Size:
		v.parse6(b, all)
	case version == 4 || version == 6:
		v.Version, v.Fault = version, CutHeader
	default:
		v.Fault = BadVersion
	}
}

// Version returns the IP version that b claims, whether it is one or not; 0 of no bytes.
func Version(b []byte) uint8 {
	if len(b) == 0 {
		return 0
	}
	return b[0] >> 4
}

// parse4 checks the lengths in the order of ip_rcv_core.
func (v *View) parse4(b []byte, all bool) {
	frag := binary.BigEndian.Uint16(b[6:])
	v.Version, v.Proto = 4, b[9]
	v.FragOffset, v.More, v.FragID = int(frag&0x1fff)*8, frag&0x2000 != 0, uint32(binary.BigEndian.Uint16(b[4:]))
	v.Header, v.Transport = int(b[0]&15)*4, IPv4HeaderLength(b)
	v.Length, v.End = int(binary.BigEndian.Uint16(b[2:])), len(b)
	if !all {
		v.End = min(v.End, max(v.Length, v.Transport))
	}
	switch {
	case v.Header < IPv4Size:
		v.Fault = BadHeaderLength
	case v.Header > len(b):
		v.Fault = CutOptions
	case v.Length < v.Header && !all:
		v.Fault = BadLength
	case v.FragOffset != 0:
		v.Fault = LaterFragment
	}
}

// IPv4HeaderLength returns the length of the IPv4 header that b, which has 20 bytes at least, begins with: what its checksum
// covers. It is 20 where the header claims less than that or more than there is.
func IPv4HeaderLength(b []byte) int {
	if n := int(b[0]&15) * 4; n > IPv4Size && n <= len(b) {
		return n
	}
	return IPv4Size
}

func (v *View) parse6(b []byte, all bool) {
	v.Version, v.Proto, v.Header, v.Transport = 6, b[6], IPv6Size, IPv6Size
	v.Length, v.End = IPv6Size+int(binary.BigEndian.Uint16(b[4:])), len(b)
	// ip6_rcv_core cuts nothing where there is no length in front of a hop-by-hop header: that may have the jumbo option.
	if jumbo := v.Length == IPv6Size && v.Proto == ProtoHopByHop; !all && !jumbo {
		v.End = min(v.End, v.Length)
	}
	for isExtension(v.Proto) {
		at := v.Transport
		n := extensionLength(v.Proto, b[at:v.End])
		if n == 0 {
			v.Fault = CutExtension
			return
		}
		if v.Proto == ProtoFragment {
			v.fragment(b, at)
		}
		v.Proto, v.Transport = b[at], at+n
		if v.FragOffset != 0 {
			v.Fault = LaterFragment
			return
		}
	}
}

// fragment reads the fragment header at that place.
func (v *View) fragment(b []byte, at int) {
	if v.Fragment == 0 {
		v.Fragment, v.FragID = at, binary.BigEndian.Uint32(b[at+4:])
	}
	frag := binary.BigEndian.Uint16(b[at+2:])
	v.FragOffset, v.More = int(frag&^7), v.More || frag&1 != 0
}

// isExtension reports whether a number is that of an extension header (net/ipv6/exthdrs_core.c, ipv6_ext_hdr, without
// NEXTHDR_NONE, behind which nothing is passed over).
func isExtension(proto uint8) bool {
	switch proto {
	case ProtoHopByHop, ProtoRouting, ProtoFragment, ProtoAH, ProtoDestination:
		return true
	}
	return false
}

// extensionLength returns the length of the extension header that b begins with; 0 where it is not whole.
func extensionLength(proto uint8, b []byte) int {
	if len(b) < 8 {
		return 0
	}
	n := FragmentSize
	switch proto {
	case ProtoFragment:
	case ProtoAH:
		n += int(b[1]) * 4 // include/net/ipv6.h, ipv6_authlen
	default:
		n += int(b[1]) * 8 // ipv6_optlen
	}
	if n > len(b) {
		return 0
	}
	return n
}

// HasAddrs reports whether there are addresses to be read: whether the 20 bytes of IPv4 or the 40 of IPv6 are there.
func (v View) HasAddrs() bool { return v.Fault <= CutOptions }

// HasHeader reports whether the network header is one that Linux takes: whole, and no shorter than it must be. Without
// it conntrack has no tuple.
func (v View) HasHeader() bool { return v.Fault <= BadLength }

// IsFragment reports whether the packet is a part of another one. A fragment header of IPv6 alone does not make it one.
func (v View) IsFragment() bool { return v.FragOffset != 0 || v.More }

// AddrSize returns the length of an address in bytes.
func (v View) AddrSize() int {
	if v.Version == 6 {
		return 16
	}
	return 4
}

// SrcAt returns where the source address begins.
func (v View) SrcAt() int {
	if v.Version == 6 {
		return 8
	}
	return 12
}

// DstAt returns where the destination address begins.
func (v View) DstAt() int { return v.SrcAt() + v.AddrSize() }

// AddrBytes returns both addresses of the packet b, which has addresses, in place: what checksums cover.
func (v View) AddrBytes(b []byte) []byte { return b[v.SrcAt() : v.SrcAt()+2*v.AddrSize()] }

// Src returns the source address of the packet b, which has addresses.
func (v View) Src(b []byte) netip.Addr {
	if v.Version == 6 {
		return netip.AddrFrom16([16]byte(b[8:]))
	}
	return netip.AddrFrom4([4]byte(b[12:]))
}

// Dst returns the destination address of the packet b, which has addresses.
func (v View) Dst(b []byte) netip.Addr {
	if v.Version == 6 {
		return netip.AddrFrom16([16]byte(b[24:]))
	}
	return netip.AddrFrom4([4]byte(b[16:]))
}

// TTLAt returns where the time to live or the hop limit is.
func (v View) TTLAt() int {
	if v.Version == 6 {
		return 7
	}
	return 8
}

// TOS returns the type of service or the traffic class of the packet b, which has addresses.
func (v View) TOS(b []byte) uint8 {
	if v.Version == 6 {
		return b[0]<<4 | b[1]>>4
	}
	return b[1]
}

// Size returns how many bytes there are behind the headers of the network layer as these claim it; there are less where
// the packet was cut.
func (v View) Size() int { return max(v.Length, v.End) - v.Transport }

// Body returns what the packet b has from its transport header to its end, in place; nil where there is a Fault.
func (v View) Body(b []byte) []byte {
	if v.Fault != NoFault {
		return nil
	}
	return b[v.Transport:v.End:v.End]
}

// Extension is one extension header of IPv6.
type Extension struct {
	Proto  uint8 // its number
	At     int   // where it begins
	Length int   // in bytes
}

// Extensions returns the extension headers of the packet b that are whole, in their order, up to the fragment header of
// a later fragment.
func (v View) Extensions(b []byte) iter.Seq[Extension] {
	return func(yield func(Extension) bool) {
		if v.Version != 6 || v.Fault == CutHeader {
			return
		}
		for at, proto := IPv6Size, b[6]; at < v.Transport; {
			e := Extension{proto, at, extensionLength(proto, b[at:v.Transport])}
			if !yield(e) {
				return
			}
			at, proto = at+e.Length, b[at]
		}
	}
}
