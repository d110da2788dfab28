package pktline

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// header is what the network layer says about a packet.
type header struct {
	name     string // "IP" or "IP6"
	src, dst netip.Addr
	proto    nf.Proto
	body     []byte // behind the headers of the network layer; nil if it cannot be found
	size     int    // of the body as the headers have it; more than len(body) where the packet was cut
	frag     string // "(frag 7:1480@0+)": id, size, offset, more to come
	later    bool   // a fragment that begins behind the transport header
	words    string // of the extension headers of IPv6, each followed by a space
	fault    string
}

// parse reads the headers of the network layer. Without addresses there is only the fault, and ok is false.
func parse(b []byte) (h header, ok bool) {
	if len(b) == 0 {
		return header{fault: "empty packet"}, false
	}
	switch v := b[0] >> 4; v {
	case 4:
		return parse4(b)
	case 6:
		return parse6(b)
	default:
		return header{fault: fmt.Sprintf("IP version %d, %d bytes: % x", v, len(b), b[:min(len(b), 16)])}, false
	}
}

func parse4(b []byte) (header, bool) {
	var ip layers.IPv4
	err := ip.DecodeFromBytes(b, gopacket.NilDecodeFeedback)
	if len(b) < 20 {
		return header{fault: fmt.Sprintf("IP header cut after %d bytes", len(b))}, false
	}
	h := header{name: "IP", src: addr(ip.SrcIP), dst: addr(ip.DstIP), proto: nf.Proto(ip.Protocol)}
	length := int(ip.IHL) * 4
	switch {
	case length < 20:
		h.fault = fmt.Sprintf("bad header length %d", length)
		return h, true
	case int(ip.Length) < length:
		h.fault = fmt.Sprintf("bad length %d", ip.Length)
		return h, true
	case len(b) < length:
		h.fault = fmt.Sprintf("header cut after %d of %d bytes", len(b), length)
		return h, true
	case err != nil: // nothing else is left that gopacket finds fault with
		h.fault = "bad IP options"
	}
	h.size = int(ip.Length) - length
	h.body = b[length:min(len(b), int(ip.Length))]
	if more := ip.Flags&layers.IPv4MoreFragments != 0; more || ip.FragOffset != 0 {
		h.fragment(uint32(ip.Id), int(ip.FragOffset)*8, more)
	}
	return h, true
}

func parse6(b []byte) (header, bool) {
	if len(b) < 40 {
		return header{fault: fmt.Sprintf("IP6 header cut after %d bytes", len(b))}, false
	}
	// The fixed header is all that is asked of gopacket here: it refuses what tcpdump prints, such as an empty payload,
	// and has filled in the fields by then.
	var ip layers.IPv6
	_ = ip.DecodeFromBytes(b, gopacket.NilDecodeFeedback)
	h := header{name: "IP6", src: addr(ip.SrcIP), dst: addr(ip.DstIP), size: int(ip.Length), body: b[40:]}
	if ip.Length == 0 && ip.NextHeader == layers.IPProtocolIPv6HopByHop {
		h.size = len(h.body) // a jumbogram
	}
	h.body = h.body[:min(len(h.body), h.size)]
	h.extensions(byte(ip.NextHeader))
	return h, true
}

// extensions passes over the extension headers as the kernel does (net/ipv6/exthdrs_core.c, ipv6_skip_exthdr) and
// stops at one that is not whole.
func (h *header) extensions(next byte) {
	for {
		h.proto = nf.Proto(next)
		n := 8
		switch next {
		case 0, 43, 60: // hop-by-hop, routing, destination options
			if len(h.body) >= 2 {
				n += int(h.body[1]) * 8
			}
		case 51: // authentication
			if len(h.body) >= 2 {
				n += int(h.body[1]) * 4
			}
		case 44: // fragment
		default:
			return
		}
		if len(h.body) < n {
			h.later = true // no transport header to be seen
			h.fault = "extension header cut"
			return
		}
		ext := h.body[:n]
		h.body, h.size = h.body[n:], h.size-n
		h.words += extensionWords[next]
		if next == 44 {
			f := binary.BigEndian.Uint16(ext[2:])
			h.fragment(binary.BigEndian.Uint32(ext[4:]), int(f&0xfff8), f&1 != 0)
		}
		next = ext[0]
		if h.later {
			h.proto = nf.Proto(next)
			return
		}
	}
}

// extensionWords are those of tcpdump. Of a fragment header the end of the line tells.
var extensionWords = map[byte]string{0: "HBH ", 43: "RT ", 60: "DSTOPT ", 51: "AH "}

func (h *header) fragment(id uint32, offset int, more bool) {
	plus := ""
	if more {
		plus = "+"
	}
	h.frag = fmt.Sprintf("(frag %d:%d@%d%s)", id, h.size, offset, plus)
	h.later = offset != 0
}

// addr returns the address in b, which has 4 or 16 bytes.
func addr(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a
}
