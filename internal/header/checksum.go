package header

import (
	"encoding/binary"
	"hash/crc32"
)

// Sum returns the sum in ones' complement of the 16-bit words of all parts, each of which begins a new word (RFC 1071).
func Sum(parts ...[]byte) uint16 {
	var s uint64
	for _, b := range parts {
		for ; len(b) > 1; b = b[2:] {
			s += uint64(binary.BigEndian.Uint16(b))
		}
		if len(b) == 1 {
			s += uint64(b[0]) << 8
		}
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// Delta returns by how much words change whose sum changes, for Adjust.
func Delta(from, to uint16) uint32 { return uint32(^from) + uint32(to) }

// Adjust returns what a checksum becomes when what it covers changes by delta, a sum of less than 2^16 words
// (RFC 1624, equation 3: HC' = ~(~HC + ~m + m')).
func Adjust(checksum uint16, delta uint32) uint16 {
	s := uint32(^checksum) + delta
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	return ^uint16(s)
}

// HeaderSumAt is where the IPv4 header has its checksum.
const HeaderSumAt = 10

// IsHeaderSumRight reports whether the checksum of the IPv4 header that b begins with is right; b has 20 bytes at least.
func IsHeaderSumRight(b []byte) bool { return Sum(b[:IPv4HeaderLength(b)]) == 0xffff }

// HeaderSum returns the checksum that is right for the IPv4 header that b begins with; b has 20 bytes at least.
func HeaderSum(b []byte) uint16 {
	return ^Sum(b[:HeaderSumAt], b[HeaderSumAt+2:IPv4HeaderLength(b)])
}

// SetHeaderSum makes the checksum of the IPv4 header that b begins with right; b has 20 bytes at least.
func SetHeaderSum(b []byte) { binary.BigEndian.PutUint16(b[HeaderSumAt:], HeaderSum(b)) }

// SumField says where a transport header has its checksum: offset and size in bytes. The size is 0 where it has none, or
// where that is cut.
func SumField(proto uint8, l4 []byte) (at, size int) {
	switch proto {
	case ProtoTCP:
		at, size = 16, 2
	case ProtoUDP, ProtoUDPLite, ProtoDCCP:
		at, size = 6, 2
	case ProtoICMP, ProtoICMPv6, ProtoIGMP:
		at, size = 2, 2
	case ProtoSCTP:
		at, size = 8, 4
	case ProtoGRE: // only where the header says that it is there, and in version 0
		if len(l4) < 2 || l4[0]&0x80 == 0 || l4[1]&7 != 0 {
			return 0, 0
		}
		at, size = 4, 2
	}
	if len(l4) < at+size {
		return 0, 0
	}
	return at, size
}

// CoversAddrs reports whether the checksum of a protocol covers the addresses of the packet as well.
func CoversAddrs(proto uint8) bool {
	return proto != ProtoICMP && proto != ProtoIGMP && proto != ProtoGRE && proto != ProtoSCTP
}

// TransportSum returns the checksum that is right for the transport header and payload l4 of a packet with these
// addresses, source and destination in one piece. They are those of the network header, as netfilter checks them
// (net/netfilter/utils.c). What l4 has in the checksum's place does not matter. It is 0 where there is no checksum.
func TransportSum(proto uint8, addrs, l4 []byte) uint32 {
	at, size := SumField(proto, l4)
	if size == 0 {
		return 0
	}
	if proto == ProtoSCTP { // RFC 9260, appendix A: CRC32c, transmitted with its low byte first
		c := crc32.Update(0, castagnoli, l4[:at])
		c = crc32.Update(c, castagnoli, zeros[:])
		c = crc32.Update(c, castagnoli, l4[at+size:])
		return binary.BigEndian.Uint32(binary.LittleEndian.AppendUint32(nil, c))
	}
	covered := l4[:coverage(proto, l4)]
	var pseudo [8]byte // length, zero, protocol
	if CoversAddrs(proto) {
		binary.BigEndian.PutUint32(pseudo[:], uint32(len(l4)))
		pseudo[7] = proto
	} else {
		addrs = nil
	}
	return uint32(NonZero(proto, ^Sum(covered[:at], covered[at+size:], addrs, pseudo[:])))
}

// SetTransportSum writes the checksum into l4 that TransportSum returns, where there is one.
func SetTransportSum(proto uint8, addrs, l4 []byte) {
	at, size := SumField(proto, l4)
	switch {
	case size == 0:
	case proto == ProtoSCTP: // over zeros in the place of the checksum, and not in pieces as TransportSum: floods do it
		binary.LittleEndian.PutUint32(l4[at:], 0)
		binary.LittleEndian.PutUint32(l4[at:], crc32.Checksum(l4, castagnoli))
	default:
		PutSum(l4[at:at+size], TransportSum(proto, addrs, l4))
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// zeros stand for the field of the checksum. They would be allocated each time if they were a local variable.
var zeros [4]byte

// coverage returns how many bytes of l4 the checksum covers: all but in UDP-Lite (RFC 3828, 3.1) and DCCP (RFC 4340,
// 9.2). A coverage that makes no sense counts as all.
func coverage(proto uint8, l4 []byte) int {
	n := 0
	switch proto {
	case ProtoUDPLite:
		n = int(binary.BigEndian.Uint16(l4[4:]))
	case ProtoDCCP:
		if c := int(l4[5] & 15); c > 0 {
			n = int(l4[4])*4 + (c-1)*4
		}
	}
	if n < 8 || n > len(l4) {
		return len(l4)
	}
	return n
}

// NonZero returns a checksum as it is written: in UDP and UDP-Lite zero means that there is none, so that zero is written
// as all ones (RFC 768, RFC 3828).
func NonZero(proto uint8, checksum uint16) uint16 {
	if checksum == 0 && (proto == ProtoUDP || proto == ProtoUDPLite) {
		return 0xffff
	}
	return checksum
}

// GetSum reads a checksum of 2 or 4 bytes.
func GetSum(field []byte) uint32 {
	if len(field) == 4 {
		return binary.BigEndian.Uint32(field)
	}
	return uint32(binary.BigEndian.Uint16(field))
}

// PutSum writes a checksum of 2 or 4 bytes.
func PutSum(field []byte, checksum uint32) {
	if len(field) == 4 {
		binary.BigEndian.PutUint32(field, checksum)
		return
	}
	binary.BigEndian.PutUint16(field, uint16(checksum))
}

// IsSum reports whether the field of a checksum holds it. In ones' complement there are two ways to write zero.
func IsSum(field []byte, checksum uint32) bool {
	return GetSum(field) == checksum || len(field) == 2 && checksum == 0 && GetSum(field) == 0xffff
}

// ClearHop sets to zero what a router changes in the packet b, as far as it is there: the time to live, and in IPv4 the
// checksum of the header.
func ClearHop(b []byte) {
	v := View{Version: Version(b)}
	if at := v.TTLAt(); (v.Version == 4 || v.Version == 6) && at < len(b) {
		b[at] = 0
	}
	if v.Version == 4 && len(b) >= HeaderSumAt+2 {
		b[HeaderSumAt], b[HeaderSumAt+1] = 0, 0
	}
}
