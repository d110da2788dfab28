package inject

import (
	"encoding/binary"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// places says where a packet has what a Remap or a Flood changes, and the checksums over it. To find them and to change
// what is there takes no memory.
type places struct {
	v6               bool
	src, dst         int // addresses …
	addrSize         int // … of so many bytes
	proto            nf.Proto
	l4               int  // the transport header; 0: there is none
	ports            bool // it begins with ports
	whole            bool // it is no fragment
	sum, sumSize     int  // checksum of the transport header; size 0: there is none
	end              int  // of what the network header claims
	optional, pseudo bool // zero means that there is no checksum; it covers the addresses, too
}

// placesOf reports false where p has no whole IPv4 or IPv6 header.
func placesOf(p []byte) (pl places, ok bool) {
	switch {
	case len(p) >= 20 && p[0]>>4 == 4:
		header := int(p[0]&15) * 4
		if header < 20 || header > len(p) {
			return pl, false
		}
		pl = places{src: 12, dst: 16, addrSize: 4, proto: nf.Proto(p[9])}
		pl.end = max(header, min(len(p), int(binary.BigEndian.Uint16(p[2:]))))
		frag := binary.BigEndian.Uint16(p[6:])
		pl.whole = frag&0x3fff == 0
		if frag&0x1fff == 0 {
			pl.l4 = header
		}
	case len(p) >= 40 && p[0]>>4 == 6:
		pl = places{v6: true, src: 8, dst: 24, addrSize: 16, proto: nf.Proto(p[6]), whole: true}
		pl.end = min(len(p), 40+int(binary.BigEndian.Uint16(p[4:])))
		pl.skipExtensions(p)
	default:
		return pl, false
	}
	pl.transport(p)
	return pl, true
}

// skipExtensions looks for the transport header behind the extension headers of IPv6 (net/ipv6/exthdrs_core.c,
// ipv6_skip_exthdr).
func (pl *places) skipExtensions(p []byte) {
	at := 40
	for {
		b := p[min(at, pl.end):pl.end]
		n := 0
		switch pl.proto {
		case 0, 43, 60: // hop-by-hop, routing, destination options
			if len(b) >= 8 {
				n = int(b[1])*8 + 8
			}
		case 44: // fragment
			if len(b) >= 8 {
				n = 8
				frag := binary.BigEndian.Uint16(b[2:])
				pl.whole = frag&^6 == 0
				if frag>>3 != 0 {
					pl.proto = nf.Proto(b[0])
					return
				}
			}
		case 51: // authentication
			if len(b) >= 8 {
				n = int(b[1])*4 + 8
			}
		default:
			pl.l4 = at
			return
		}
		if n == 0 {
			return
		}
		pl.proto = nf.Proto(b[0])
		at += n
	}
}

// transport looks at the transport header.
func (pl *places) transport(p []byte) {
	if pl.l4 == 0 || pl.l4 >= pl.end {
		pl.l4 = 0
		return
	}
	l4 := p[pl.l4:pl.end]
	pl.ports = pl.proto.HasPorts() && len(l4) >= 4
	at, size := sumField(pl.proto, l4)
	pl.sum, pl.sumSize = pl.l4+at, size
	pl.pseudo = size == 2 && hasPseudo(pl.proto)
	pl.optional = pl.proto == nf.UDP && !pl.v6
}

// put writes value into field, which is a piece of p at an even offset, and corrects the checksums that cover it.
func (pl places) put(p, field, value []byte, isAddr bool) {
	delta := uint32(^onesSum(field)) + uint32(onesSum(value))
	copy(field, value)
	if isAddr && !pl.v6 {
		binary.BigEndian.PutUint16(p[10:], adjusted(binary.BigEndian.Uint16(p[10:]), delta))
	}
	if !isAddr || pl.pseudo {
		pl.adjust(p, delta)
	}
}

// adjust corrects the checksum of the transport header.
func (pl places) adjust(p []byte, delta uint32) {
	if pl.sumSize != 2 {
		return
	}
	b := p[pl.sum : pl.sum+2]
	if sum := binary.BigEndian.Uint16(b); sum != 0 || !pl.optional {
		binary.BigEndian.PutUint16(b, pl.asSent(adjusted(sum, delta)))
	}
}

// asSent is how a checksum is written: in UDP and UDP-Lite zero means that there is none (RFC 768, 3828).
func (pl places) asSent(sum uint16) uint16 {
	if sum == 0 && (pl.proto == nf.UDP || pl.proto == nf.UDPLite) {
		return 0xffff
	}
	return sum
}

// adjusted is what a checksum becomes when what it covers changes by delta: RFC 1624, equation 3.
func adjusted(sum uint16, delta uint32) uint16 {
	s := uint32(^sum) + delta
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	return ^uint16(s)
}

// quoted returns the packet that an ICMP error quotes, in place; nil for other packets.
func (pl places) quoted(p []byte) []byte {
	if !pl.proto.IsICMP() || pl.l4 == 0 || pl.end < pl.l4+8 {
		return nil
	}
	switch typ := p[pl.l4]; {
	case pl.proto == nf.ICMP && (typ == 3 || typ == 4 || typ == 5 || typ == 11 || typ == 12),
		pl.proto == nf.ICMPv6 && typ < 128:
		return p[pl.l4+8 : pl.end]
	}
	return nil
}

// sumIsRight reports whether the checksum of the transport header is right. That of a fragment is not.
func (pl places) sumIsRight(p []byte) bool {
	if pl.sumSize == 0 || !pl.whole {
		return false
	}
	b := p[pl.sum : pl.sum+pl.sumSize]
	return getSum(b) == pl.rightSum(p)
}

func (pl places) rightSum(p []byte) uint32 {
	return transportSum(pl.proto, p[pl.src:pl.src+pl.addrSize], p[pl.dst:pl.dst+pl.addrSize], p[pl.l4:pl.end])
}

// fixSum makes the checksum of the transport header right, unless there is none or p is a fragment.
func (pl places) fixSum(p []byte) {
	if pl.sumSize == 0 || !pl.whole {
		return
	}
	if b := p[pl.sum : pl.sum+pl.sumSize]; !pl.optional || getSum(b) != 0 {
		putSum(b, pl.rightSum(p))
	}
}

// fixSums makes all checksums of p right that it has.
func fixSums(p []byte) {
	pl, ok := placesOf(p)
	if !ok {
		return
	}
	if !pl.v6 {
		clear(p[10:12])
		binary.BigEndian.PutUint16(p[10:], ^onesSum(p[:int(p[0]&15)*4]))
	}
	pl.fixSum(p)
}
