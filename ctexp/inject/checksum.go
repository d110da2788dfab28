package inject

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// onesSum is the sum in ones' complement of the 16-bit words of all parts, each of which begins a new word (RFC 1071).
func onesSum(parts ...[]byte) uint16 {
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

// sumField says where a transport header has its checksum: offset and size in bytes. The size is 0 where it has none.
func sumField(p nf.Proto, l4 []byte) (at, size int) {
	switch p {
	case nf.TCP:
		at, size = 16, 2
	case nf.UDP, nf.UDPLite, nf.DCCP:
		at, size = 6, 2
	case nf.ICMP, nf.ICMPv6, protoIGMP:
		at, size = 2, 2
	case nf.SCTP:
		at, size = 8, 4
	case nf.GRE: // only where the header says that it is there, and in version 0
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

// transportSum returns the checksum that is right for the transport header and payload l4 of a packet with the given
// addresses, which are those of the network header, as netfilter checks them (net/netfilter/utils.c). What l4 has in
// the checksum's place does not matter. It is 0 where there is no checksum.
func transportSum(p nf.Proto, src, dst, l4 []byte) uint32 {
	at, size := sumField(p, l4)
	if size == 0 {
		return 0
	}
	if p == nf.SCTP { // RFC 9260, appendix A: CRC32c, transmitted with its low byte first
		c := crc32.Update(0, castagnoli, l4[:at])
		c = crc32.Update(c, castagnoli, make([]byte, size))
		c = crc32.Update(c, castagnoli, l4[at+size:])
		return binary.BigEndian.Uint32(binary.LittleEndian.AppendUint32(nil, c))
	}
	covered := l4[:coverage(p, l4)]
	parts := [][]byte{covered[:at], covered[at+size:]}
	if hasPseudo(p) {
		length := binary.BigEndian.AppendUint32(nil, uint32(len(l4)))
		parts = append(parts, src, dst, length, []byte{0, byte(p)})
	}
	sum := ^onesSum(parts...)
	if sum == 0 && (p == nf.UDP || p == nf.UDPLite) {
		sum = 0xffff // RFC 768, 3828: zero is sent as all ones
	}
	return uint32(sum)
}

// hasPseudo reports whether the checksum covers the addresses as well.
func hasPseudo(p nf.Proto) bool { return p != nf.ICMP && p != protoIGMP && p != nf.GRE }

// summed changes as what is under the checksum does, of which l4 may be the first fragment.
func summed(p nf.Proto, src, dst, l4 []byte) uint16 {
	at, size := sumField(p, l4)
	if !hasPseudo(p) {
		return onesSum(l4[:at], l4[at+size:])
	}
	return onesSum(l4[:at], l4[at+size:], src, dst)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// coverage returns how many bytes of l4 the checksum covers: all but in UDP-Lite (RFC 3828, 3.1) and DCCP (RFC 4340,
// 9.2). A coverage that makes no sense counts as all.
func coverage(p nf.Proto, l4 []byte) int {
	n := 0
	switch p {
	case nf.UDPLite:
		n = int(binary.BigEndian.Uint16(l4[4:]))
	case nf.DCCP:
		if c := int(l4[5] & 15); c > 0 {
			n = int(l4[4])*4 + (c-1)*4
		}
	}
	if n < 8 || n > len(l4) {
		return len(l4)
	}
	return n
}

// getSum and putSum read and write a checksum of 2 or 4 bytes.
func getSum(b []byte) uint32 {
	if len(b) == 4 {
		return binary.BigEndian.Uint32(b)
	}
	return uint32(binary.BigEndian.Uint16(b))
}

func putSum(b []byte, sum uint32) {
	if len(b) == 4 {
		binary.BigEndian.PutUint32(b, sum)
		return
	}
	binary.BigEndian.PutUint16(b, uint16(sum))
}

// isSum reports whether a checksum is sum. In ones' complement there are two ways to write zero.
func isSum(b []byte, sum uint32) bool {
	return getSum(b) == sum || len(b) == 2 && sum == 0 && getSum(b) == 0xffff
}
