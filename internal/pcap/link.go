package pcap

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/ctexp/go-ctexp/internal/header"
)

// linkType is the kind of header in front of each packet (https://www.tcpdump.org/linktypes.html). That of gopacket has only 8 bits.
type linkType uint16

const (
	linkTypeNull      linkType = 0
	linkTypeEthernet  linkType = 1
	linkTypePPP       linkType = 9
	linkTypeRawDLT    linkType = 12 // DLT_RAW of most systems; files should have linkTypeRaw
	linkTypeRawBSD    linkType = 14 // DLT_RAW of OpenBSD
	linkTypePPPHDLC   linkType = 50
	linkTypePPPoE     linkType = 51
	linkTypeRaw       linkType = 101
	linkTypeCiscoHDLC linkType = 104
	linkTypeLoop      linkType = 108
	linkTypeCooked    linkType = 113
	linkTypePPPDir    linkType = 204 // LINKTYPE_PPP_WITH_DIR
	linkTypeIPv4      linkType = 228
	linkTypeIPv6      linkType = 229
	linkTypeNFLOG     linkType = 239
	linkTypeCooked2   linkType = 276
)

// packet removes the link-layer header.
func (r record) packet() (Packet, error) {
	p := Packet{Time: r.time, Link: r.link, Dir: r.dir, Data: r.data, Length: r.length}
	switch r.linkType {
	case linkTypeEthernet:
		p.ethernet()
		p.unpad() // frames are padded to a minimum length
	case linkTypeCooked:
		p.cooked()
		p.unpad()
	case linkTypeCooked2:
		p.cooked2()
		p.unpad()
	case linkTypeNull, linkTypeLoop:
		if p.take(4) != nil {
			p.byVersion()
		}
	case linkTypeRaw, linkTypeRawDLT, linkTypeRawBSD:
		p.byVersion()
	case linkTypeIPv4:
		p.EtherType = header.EtherTypeIPv4
	case linkTypeIPv6:
		p.EtherType = header.EtherTypeIPv6
	case linkTypePPP, linkTypePPPHDLC:
		p.ppp()
	case linkTypePPPDir:
		if h := p.take(1); h != nil {
			p.Dir = map[byte]Dir{0: In, 1: Out}[h[0]]
			p.ppp()
		}
	case linkTypePPPoE:
		if p.take(pppoeSize) != nil {
			p.ppp()
		}
	case linkTypeCiscoHDLC:
		if h := p.take(4); h != nil {
			p.EtherType = binary.BigEndian.Uint16(h[2:])
		}
	case linkTypeNFLOG:
		p.nflog()
	default:
		return Packet{}, fmt.Errorf("link type %d is not known: want one with IP, as Ethernet, Linux cooked, raw IP, loopback, PPP or NFLOG", r.linkType)
	}
	return p, nil
}

// inner removes what stands between Ethernet and IP in a session of PPPoE, and in LLC with SNAP (RFC 1042). The frame is then not that
// of an IP packet, and is left out.
func (p *Packet) inner() {
	const pppoeSession = 0x8864
	switch {
	case p.EtherType == pppoeSession:
		p.EtherType = 0
		if p.take(pppoeSize) != nil {
			p.ppp()
		}
	case p.EtherType == 0 && bytes.HasPrefix(p.Data, snap) && len(p.Data) >= len(snap)+2:
		p.EtherType = binary.BigEndian.Uint16(p.take(len(snap) + 2)[len(snap):])
	default:
		return
	}
	if p.EtherType == header.EtherTypeIPv4 || p.EtherType == header.EtherTypeIPv6 {
		p.Ethernet = nil
	}
}

// snap is LLC and SNAP before an EtherType.
var snap = []byte{0xaa, 0xaa, 3, 0, 0, 0}

// pppoeSize is the size of the header of PPPoE (RFC 2516).
const pppoeSize = 6

// ppp reads the header of PPP, with or without the address and control of HDLC, and with a protocol of one byte or two (RFC 1661,
// 2; RFC 1662, 3.1).
func (p *Packet) ppp() {
	if len(p.Data) >= 2 && p.Data[0] == 0xff && p.Data[1] == 0x03 {
		p.take(2)
	}
	if len(p.Data) == 0 {
		return
	}
	n := 2
	if p.Data[0]&1 == 1 {
		n = 1
	}
	h := p.take(n)
	if h == nil {
		return
	}
	switch protocol := h[len(h)-1]; {
	case n == 2 && h[0] != 0:
	case protocol == 0x21:
		p.EtherType = header.EtherTypeIPv4
	case protocol == 0x57:
		p.EtherType = header.EtherTypeIPv6
	}
}

// nflog reads attributes up to that of the payload, NFULA_PAYLOAD (include/uapi/linux/netfilter/nfnetlink_log.h), which are in the
// order of the recording host's bytes. The header has the family in its first byte.
func (p *Packet) nflog() {
	const payload = 9
	if p.take(4) == nil {
		return
	}
	for len(p.Data) >= 4 {
		size, typ := int(binary.LittleEndian.Uint16(p.Data)), binary.LittleEndian.Uint16(p.Data[2:])
		if typ > 0xff && typ&0xff == 0 { // big-endian
			size, typ = int(binary.BigEndian.Uint16(p.Data)), binary.BigEndian.Uint16(p.Data[2:])
		}
		switch {
		case size < 4:
			p.take(len(p.Data))
		case typ&0x7fff == payload:
			p.take(4)
			p.Data = p.Data[:min(size-4, len(p.Data))]
			p.Length = min(p.Length, size-4)
			p.byVersion()
			return
		default:
			p.take(min((size+3)&^3, len(p.Data)))
		}
	}
	p.take(len(p.Data))
}
