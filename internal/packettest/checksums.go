package packettest

import (
	"encoding/binary"
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// CheckSums returns an error for a whole packet with a wrong checksum or length, calculated from RFC 1071 and 8200
// without the help of the code under test. It knows packets without extension headers.
func CheckSums(p packet.Packet) error {
	var pseudo, body []byte
	var proto nf.Proto
	switch p[0] >> 4 {
	case 4:
		header := int(p[0]&15) * 4
		if n := int(binary.BigEndian.Uint16(p[2:])); n != len(p) {
			return fmt.Errorf("IPv4 length %d of %d bytes", n, len(p))
		}
		if s := Sum(p[:header]); s != 0xffff {
			return fmt.Errorf("IPv4 header sums up to %#x", s)
		}
		pseudo, proto, body = p[12:20], nf.Proto(p[9]), p[header:]
	case 6:
		if n := int(binary.BigEndian.Uint16(p[4:])); n != len(p)-40 {
			return fmt.Errorf("IPv6 length %d of %d bytes", n, len(p)-40)
		}
		pseudo, proto, body = p[8:40], nf.Proto(p[6]), p[40:]
	}
	pseudo = append([]byte{}, pseudo...)
	switch proto {
	case nf.ICMP:
		pseudo = nil
	case nf.TCP, nf.UDP, nf.ICMPv6:
		pseudo = append(pseudo, 0, byte(proto))
		pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(body)))
	default:
		return nil
	}
	if proto == nf.UDP {
		if n := int(binary.BigEndian.Uint16(body[4:])); n != len(body) {
			return fmt.Errorf("UDP length %d of %d bytes", n, len(body))
		}
		if binary.BigEndian.Uint16(body[6:]) == 0 {
			return fmt.Errorf("UDP has no checksum")
		}
	}
	if s := Sum(append(pseudo, body...)); s != 0xffff {
		return fmt.Errorf("%v sums up to %#x", proto, s)
	}
	return nil
}

// Sum is the sum in ones' complement of the 16-bit words of b.
func Sum(b []byte) uint32 {
	var s uint32
	for ; len(b) > 1; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return s
}

// IsWhole reports whether CheckSums knows such packets.
func IsWhole(p packet.Packet) bool {
	if p[0]>>4 == 4 {
		return len(p) >= 40 && p[0]&15 >= 5 && int(p[0]&15)*4+20 <= len(p) && p[6]&0x3f == 0 && p[7] == 0
	}
	return len(p) >= 60 && p[6] == byte(nf.TCP)
}
