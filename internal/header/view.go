// Package header parses packet headers. A View locates the extension headers, the fragment and the transport header of
// an IPv4 or IPv6 packet, a Frame the payload behind an Ethernet header and its tags, and a Rewriter changes addresses
// and ports and corrects the checksums. No other package walks headers. Where Linux and a specification differ, this
// package follows Linux.
//
// A View and a Frame are plain values: offsets into the parsed bytes. Parsing allocates nothing.
package header

import (
	"encoding/binary"
	"iter"
	"net/netip"
)

// Protocol numbers (include/uapi/linux/in.h, include/net/ipv6.h). They are untyped, so that they serve as nf.Proto and
// as uint8.
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

// Fault is the reason why a packet has no transport header that can be read. The constants are ordered by how much of
// the packet can be read, most first: HasHeader and HasAddrs rely on it.
type Fault uint8

const (
	// NoFault: the transport header begins at View.Transport. It may still be truncated.
	NoFault Fault = iota
	// LaterFragment: the packet is a fragment other than the first.
	LaterFragment
	// CutExtension: an IPv6 extension header is longer than the packet. View.Proto is its number.
	CutExtension
	// BadLength: the IPv4 total length is less than the header length.
	BadLength
	// BadHeaderLength: the IPv4 header length is less than 20 bytes.
	BadHeaderLength
	// CutOptions: the IPv4 header length is more than the number of bytes, which is at least 20.
	CutOptions
	// CutHeader: there are fewer bytes than the 20 of an IPv4 or the 40 of an IPv6 header.
	CutHeader
	// BadVersion: the version is neither 4 nor 6.
	BadVersion
	// Empty: there are no bytes.
	Empty
)

// String returns a clause about the packet, such as "its header is cut".
func (f Fault) String() string {
	return [...]string{
		"there is no fault", "it is a later fragment", "its extension headers are cut", "its length is less than its header's",
		"its header length is wrong", "its header length is wrong", "its header is cut", "its IP version is neither 4 nor 6",
		"it is empty",
	}[f]
}

// View locates the parts of a packet. All positions are offsets into the packet. If HasAddrs is false, only Fault is
// set, and with CutHeader also Version.
type View struct {
	// Version is 4 or 6.
	Version uint8
	// Fault is the reason why there is no transport header.
	Fault Fault
	// Proto is the protocol behind all network-layer headers. With CutExtension it is the number of that header.
	Proto uint8
	// More reports that other fragments follow this one.
	More bool
	// FragOffset is the fragment offset in bytes.
	FragOffset int
	// FragID is the IPv4 identification, or that of the first IPv6 fragment header.
	FragID uint32
	// Fragment is the offset of the first IPv6 fragment header; 0 if there is none.
	Fragment int
	// Header is the length of the network header according to itself, without IPv6 extension headers.
	Header int
	// Transport is the offset of what follows the network-layer headers. That is the transport header, the data of a
	// later fragment, or a truncated extension header. It is 20 if the IPv4 header length is wrong.
	Transport int
	// End is the end of the packet: where its header says, or where the bytes end. Bytes behind it are a trailer, such as
	// Ethernet padding. It is not less than Transport.
	End int
	// Length is the length of the whole packet according to its header. It is 40 for an IPv6 jumbogram, whose length
	// field is 0.
	Length int
}

// Parse reads the network-layer headers at the start of b.
//
// The packet ends where its header says, because Linux trims it there before anything else looks at it
// (net/ipv4/ip_input.c, ip_rcv_core; net/ipv6/ip6_input.c, ip6_rcv_core). Extension headers are skipped as in
// net/ipv6/exthdrs_core.c, ipv6_skip_exthdr, except that parsing stops at a truncated header: nothing follows it, and
// Linux drops such a packet (net/ipv6/exthdrs.c, ipv6_destopt_rcv). The protocol of a later fragment is the one in its
// fragment header (ipv6_find_hdr).
func Parse(b []byte) (v View) {
	v.parse(b, false)
	return v
}

// ParseAll is Parse for a packet whose length field is known to be wrong: the packet ends where b does.
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

// Version returns the version field of the packet b, which need not be a valid IP version; 0 if b is empty.
func Version(b []byte) uint8 {
	if len(b) == 0 {
		return 0
	}
	return b[0] >> 4
}

// parse4 checks the lengths in the same order as ip_rcv_core.
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

// IPv4HeaderLength returns the number of bytes that the checksum of the IPv4 header at the start of b covers. It is the
// header length, or 20 if that is less than 20 or more than len(b). b has at least 20 bytes.
func IPv4HeaderLength(b []byte) int {
	if n := int(b[0]&15) * 4; n > IPv4Size && n <= len(b) {
		return n
	}
	return IPv4Size
}

func (v *View) parse6(b []byte, all bool) {
	v.Version, v.Proto, v.Header, v.Transport = 6, b[6], IPv6Size, IPv6Size
	v.Length, v.End = IPv6Size+int(binary.BigEndian.Uint16(b[4:])), len(b)
	// ip6_rcv_core does not trim if the length is 0 and a hop-by-hop header follows, which may have the jumbo payload
	// option.
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

// fragment reads the fragment header at offset at.
func (v *View) fragment(b []byte, at int) {
	if v.Fragment == 0 {
		v.Fragment, v.FragID = at, binary.BigEndian.Uint32(b[at+4:])
	}
	frag := binary.BigEndian.Uint16(b[at+2:])
	v.FragOffset, v.More = int(frag&^7), v.More || frag&1 != 0
}

// isExtension reports whether proto is an extension header that can be skipped (net/ipv6/exthdrs_core.c, ipv6_ext_hdr,
// without NEXTHDR_NONE, which nothing follows).
func isExtension(proto uint8) bool {
	switch proto {
	case ProtoHopByHop, ProtoRouting, ProtoFragment, ProtoAH, ProtoDestination:
		return true
	}
	return false
}

// extensionLength returns the length of the extension header at the start of b; 0 if it is truncated.
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

// HasAddrs reports whether the addresses can be read: whether there are the 20 bytes of an IPv4 or the 40 of an IPv6
// header.
func (v View) HasAddrs() bool { return v.Fault <= CutOptions }

// HasHeader reports whether Linux accepts the network header: it is complete and its lengths are valid. Otherwise
// conntrack has no tuple for the packet.
func (v View) HasHeader() bool { return v.Fault <= BadLength }

// IsFragment reports whether the packet is part of a fragmented packet. An atomic fragment, which has an IPv6 fragment
// header but no other fragments (RFC 6946), is not.
func (v View) IsFragment() bool { return v.FragOffset != 0 || v.More }

// AddrSize returns the length of an address in bytes.
func (v View) AddrSize() int {
	if v.Version == 6 {
		return 16
	}
	return 4
}

// SrcAt returns the offset of the source address.
func (v View) SrcAt() int {
	if v.Version == 6 {
		return 8
	}
	return 12
}

// DstAt returns the offset of the destination address.
func (v View) DstAt() int { return v.SrcAt() + v.AddrSize() }

// AddrBytes returns the source and the destination address of b, as one slice of b. HasAddrs must be true.
func (v View) AddrBytes(b []byte) []byte { return b[v.SrcAt() : v.SrcAt()+2*v.AddrSize()] }

// Src returns the source address of b. HasAddrs must be true.
func (v View) Src(b []byte) netip.Addr {
	if v.Version == 6 {
		return netip.AddrFrom16([16]byte(b[8:]))
	}
	return netip.AddrFrom4([4]byte(b[12:]))
}

// Dst returns the destination address of b. HasAddrs must be true.
func (v View) Dst(b []byte) netip.Addr {
	if v.Version == 6 {
		return netip.AddrFrom16([16]byte(b[24:]))
	}
	return netip.AddrFrom4([4]byte(b[16:]))
}

// TTLAt returns the offset of the TTL or the hop limit.
func (v View) TTLAt() int {
	if v.Version == 6 {
		return 7
	}
	return 8
}

// TOS returns the type of service or the traffic class of b. HasAddrs must be true.
func (v View) TOS(b []byte) uint8 {
	if v.Version == 6 {
		return b[0]<<4 | b[1]>>4
	}
	return b[1]
}

// Size returns the number of bytes behind the network-layer headers according to these headers. A truncated packet has
// fewer.
func (v View) Size() int { return max(v.Length, v.End) - v.Transport }

// Body returns the transport header and payload of b as a slice of b; nil if there is a Fault.
func (v View) Body(b []byte) []byte {
	if v.Fault != NoFault {
		return nil
	}
	return b[v.Transport:v.End:v.End]
}

// Extension is an IPv6 extension header.
type Extension struct {
	Proto  uint8 // protocol number
	At     int   // offset in the packet
	Length int   // in bytes
}

// Extensions returns the complete extension headers of b in order. In a later fragment, the fragment header is the last.
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
