package pcap

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/gopacket/gopacket/layers"

	"github.com/ctexp/go-ctexp/internal/header"
)

// Link types that layers has no name for (https://www.tcpdump.org/linktypes.html).
const (
	linkTypeRaw       layers.LinkType = 12 // DLT_RAW of most systems; files should have LINKTYPE_RAW, 101
	linkTypeRawBSD    layers.LinkType = 14 // DLT_RAW of OpenBSD
	linkTypeCiscoHDLC layers.LinkType = 104
	linkTypePPPDir    layers.LinkType = 204 // LINKTYPE_PPP_WITH_DIR
	linkTypeNFLOG     layers.LinkType = 239
)

// packet removes the link-layer header.
func (r record) packet() (Packet, error) {
	p := Packet{Time: r.time, Link: r.link, Dir: r.dir, Data: r.data, Length: r.length}
	switch r.linkType {
	case layers.LinkTypeEthernet:
		p.ethernet()
		p.unpad() // frames are padded to a minimum length
	case layers.LinkTypeLinuxSLL:
		p.cooked()
		p.unpad()
	case layers.LinkTypeLinuxSLL2:
		p.cooked2()
		p.unpad()
	case layers.LinkTypeNull, layers.LinkTypeLoop:
		if p.take(4) != nil {
			p.byVersion()
		}
	case layers.LinkTypeRaw, linkTypeRaw, linkTypeRawBSD:
		p.byVersion()
	case layers.LinkTypeIPv4:
		p.EtherType = header.EtherTypeIPv4
	case layers.LinkTypeIPv6:
		p.EtherType = header.EtherTypeIPv6
	case layers.LinkTypePPP, layers.LinkTypePPP_HDLC:
		p.ppp()
	case linkTypePPPDir:
		if h := p.take(1); h != nil {
			p.Dir = map[byte]Dir{0: In, 1: Out}[h[0]]
			p.ppp()
		}
	case layers.LinkTypePPPEthernet:
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
		return Packet{}, fmt.Errorf("link type %d (%v) is not known: want one with IP, as Ethernet, Linux cooked, raw IP, loopback, PPP or NFLOG", uint16(r.linkType), r.linkType)
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
