package pktline

import (
	"fmt"
	"net/netip"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// packet is what the network layer says about a packet.
type packet struct {
	header.View
	name     string // "IP" or "IP6"
	src, dst netip.Addr
	proto    nf.Proto
	body     []byte // behind the headers of the network layer; nil if it cannot be found
	size     int    // of the body as the headers have it; more than len(body) where the packet was cut
	frag     string // "(frag 7:1480@0+)": id, size, offset, more to come
	words    string // of the extension headers of IPv6, each followed by a space
	fault    string
}

// parse reads the headers of the network layer. Without addresses there is only the fault, and ok is false.
func parse(b []byte) (h packet, ok bool) {
	v := header.Parse(b)
	h = packet{View: v, name: "IP", proto: nf.Proto(v.Proto), size: v.Size()}
	if v.Version == 6 {
		h.name = "IP6"
	}
	if v.HasAddrs() {
		h.src, h.dst = v.Src(b), v.Dst(b)
	}
	switch v.Fault {
	case header.Empty:
		h.fault = "empty packet"
	case header.BadVersion:
		h.fault = fmt.Sprintf("IP version %d, %d bytes: % x", header.Version(b), len(b), b[:min(len(b), 16)])
	case header.CutHeader:
		h.fault = fmt.Sprintf("%s header cut after %d bytes", h.name, len(b))
	case header.BadHeaderLength:
		h.fault = fmt.Sprintf("bad header length %d", v.Header)
	case header.CutOptions:
		h.fault = fmt.Sprintf("header cut after %d of %d bytes", len(b), v.Header)
	case header.BadLength:
		h.fault = fmt.Sprintf("bad length %d", v.Length)
	default:
		h.parts(b)
	}
	return h, v.HasAddrs()
}

// parts reads what the headers of a packet say beside the addresses.
func (h *packet) parts(b []byte) {
	h.body = b[h.Transport:h.End:h.End]
	for e := range h.Extensions(b) {
		h.words += extensionWords[e.Proto]
	}
	switch {
	case h.Fault == header.CutExtension:
		h.fault = "extension header cut"
	case h.Version == 4 && new(layers.IPv4).DecodeFromBytes(b, gopacket.NilDecodeFeedback) != nil:
		h.fault = "bad IP options" // all else that gopacket finds fault with is a Fault
	}
	at := h.Header // of what fragments divide
	switch {
	case h.Fragment > 0:
		at = h.Fragment + header.FragmentSize
	case !h.IsFragment():
		return
	}
	plus := ""
	if h.More {
		plus = "+"
	}
	h.frag = fmt.Sprintf("(frag %d:%d@%d%s)", h.FragID, h.size+h.Transport-at, h.FragOffset, plus)
}

// extensionWords are those of tcpdump. Of a fragment header the end of the line tells.
var extensionWords = map[uint8]string{
	header.ProtoHopByHop: "HBH ", header.ProtoRouting: "RT ", header.ProtoDestination: "DSTOPT ", header.ProtoAH: "AH ",
}

// addr returns the address in b, which has 4 or 16 bytes.
func addr(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a
}
