package header

import (
	"encoding/binary"
	"hash/crc32"
)

// Sum returns the ones' complement sum of the 16-bit words of all parts (RFC 1071). Each part begins a new word.
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

// Delta returns the argument for Adjust if covered words whose sum was from now have the sum to.
func Delta(from, to uint16) uint32 { return uint32(^from) + uint32(to) }

// Adjust returns the checksum after the covered data has changed by delta, which is a Delta or a sum of fewer than 2^15
// of them (RFC 1624, equation 3: HC' = ~(~HC + ~m + m')).
func Adjust(checksum uint16, delta uint32) uint16 {
	s := uint32(^checksum) + delta
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	return ^uint16(s)
}

// HeaderSumAt is the offset of the checksum in an IPv4 header.
const HeaderSumAt = 10

// IsHeaderSumRight reports whether the checksum of the IPv4 header at the start of b is right. b has at least 20 bytes.
func IsHeaderSumRight(b []byte) bool { return Sum(b[:IPv4HeaderLength(b)]) == 0xffff }

// HeaderSum returns the right checksum for the IPv4 header at the start of b. b has at least 20 bytes.
func HeaderSum(b []byte) uint16 {
	return ^Sum(b[:HeaderSumAt], b[HeaderSumAt+2:IPv4HeaderLength(b)])
}

// SetHeaderSum sets the checksum of the IPv4 header at the start of b. b has at least 20 bytes.
func SetHeaderSum(b []byte) { binary.BigEndian.PutUint16(b[HeaderSumAt:], HeaderSum(b)) }

// SumField returns the offset and the size in bytes of the checksum in a transport header. The size is 0 if there is
// none or if the header is truncated before its end.
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
	case ProtoGRE: // optional, and only in version 0
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

// CoversAddrs reports whether the protocol's checksum covers the packet's addresses, through a pseudo header.
func CoversAddrs(proto uint8) bool {
	return proto != ProtoICMP && proto != ProtoIGMP && proto != ProtoGRE && proto != ProtoSCTP
}

// TransportSum returns the right checksum for the transport header and payload l4, whatever its checksum field holds
// now; 0 if the protocol has none. The argument addrs is the source followed by the destination address of the network
// header, which is what netfilter checks against (net/netfilter/utils.c).
func TransportSum(proto uint8, addrs, l4 []byte) uint32 {
	at, size := SumField(proto, l4)
	if size == 0 {
		return 0
	}
	if proto == ProtoSCTP { // RFC 9260, appendix A: CRC32c, sent low byte first
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

// SetTransportSum writes the result of TransportSum into l4, if the protocol has a checksum.
func SetTransportSum(proto uint8, addrs, l4 []byte) {
	at, size := SumField(proto, l4)
	switch {
	case size == 0:
	case proto == ProtoSCTP: // zeroing the field first allows one pass, which floods need to be fast
		binary.LittleEndian.PutUint32(l4[at:], 0)
		binary.LittleEndian.PutUint32(l4[at:], crc32.Checksum(l4, castagnoli))
	default:
		PutSum(l4[at:at+size], TransportSum(proto, addrs, l4))
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// zeros stands in for the checksum field. As a local variable it would be allocated on each call.
var zeros [4]byte

// coverage returns the number of bytes of l4 that the checksum covers. It is all of them except in UDP-Lite (RFC 3828,
// 3.1) and DCCP (RFC 4340, 9.2). An invalid coverage counts as all.
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

// NonZero returns the checksum as it is sent. In UDP and UDP-Lite, zero means no checksum, so a computed zero is sent
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

// IsSum reports whether a checksum field holds this checksum. In ones' complement, zero can also be written as all ones.
func IsSum(field []byte, checksum uint32) bool {
	return GetSum(field) == checksum || len(field) == 2 && checksum == 0 && GetSum(field) == 0xffff
}

// ClearHop zeroes the fields of the packet b that every router changes: the TTL or hop limit, and the IPv4 header
// checksum. Fields beyond the end of b are ignored.
func ClearHop(b []byte) {
	v := View{Version: Version(b)}
	if at := v.TTLAt(); (v.Version == 4 || v.Version == 6) && at < len(b) {
		b[at] = 0
	}
	if v.Version == 4 && len(b) >= HeaderSumAt+2 {
		b[HeaderSumAt], b[HeaderSumAt+1] = 0, 0
	}
}
