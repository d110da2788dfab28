package pcapfile

import (
	"encoding/binary"
	"fmt"

	"github.com/gopacket/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

const arphrdNetlink = 824 // include/uapi/linux/if_arp.h

// packet takes the link layer away.
func (r record) packet() (Packet, error) {
	p := Packet{Time: r.time, Link: r.link, Dir: r.dir, Data: r.data, Length: r.length}
	padded := false // to the least length of a frame
	switch r.linkType {
	case layers.LinkTypeEthernet:
		padded = true
		p.ethernet()
	case layers.LinkTypeLinuxSLL:
		padded = true
		p.cooked()
	case layers.LinkTypeLinuxSLL2:
		padded = true
		p.cooked2()
	case layers.LinkTypeNull, layers.LinkTypeLoop:
		if p.take(4) != nil {
			p.byVersion()
		}
	case layers.LinkTypeRaw, 12, 14: // DLT_RAW is 12, on OpenBSD 14; in files it should be 101
		p.byVersion()
	case layers.LinkTypeIPv4:
		p.EtherType = header.EtherTypeIPv4
	case layers.LinkTypeIPv6:
		p.EtherType = header.EtherTypeIPv6
	default:
		return Packet{}, fmt.Errorf("link type %d (%v) is none of those that are known", uint16(r.linkType), r.linkType)
	}
	if padded {
		p.unpad()
	}
	return p, nil
}

// take takes n bytes from the front, or all and returns nil if there are not so many.
func (p *Packet) take(n int) []byte {
	if len(p.Data) < n {
		p.Length -= len(p.Data)
		p.Data = nil
		return nil
	}
	b := p.Data[:n]
	p.Data = p.Data[n:]
	p.Length -= n
	return b
}

func (p *Packet) ethernet() {
	h := p.take(header.EthernetSize)
	if h == nil {
		return
	}
	p.Dst, p.Src = nf.MAC(h), nf.MAC(h[6:])
	p.protocol(header.OuterType(h))
}

// protocol sets the EtherType to what is behind the tags of virtual networks.
func (p *Packet) protocol(t uint16) {
	f := header.ParseTags(t, p.Data)
	if tags := p.take(f.Payload); len(tags) > 0 {
		p.VLAN = header.VLAN(tags)
		p.Tags = append(binary.BigEndian.AppendUint16(nil, t), tags[:len(tags)-2]...)
	}
	if f.Cut {
		p.Length -= len(p.Data)
		p.Data = nil
	} else if f.EtherType >= header.MinEtherType {
		p.EtherType = f.EtherType
	}
}

// cooked reads the header of LINKTYPE_LINUX_SLL.
func (p *Packet) cooked() {
	h := p.take(16)
	if h == nil {
		return
	}
	p.cookedBy(binary.BigEndian.Uint16(h), binary.BigEndian.Uint16(h[4:]), h[6:])
	if binary.BigEndian.Uint16(h[2:]) != arphrdNetlink {
		p.protocol(binary.BigEndian.Uint16(h[14:]))
	}
}

// cooked2 reads the header of LINKTYPE_LINUX_SLL2.
func (p *Packet) cooked2() {
	h := p.take(20)
	if h == nil {
		return
	}
	p.Link = fmt.Sprintf("#%d", binary.BigEndian.Uint32(h[4:]))
	p.cookedBy(uint16(h[10]), uint16(h[11]), h[12:])
	if binary.BigEndian.Uint16(h[8:]) != arphrdNetlink {
		p.protocol(binary.BigEndian.Uint16(h))
	}
}

// cookedBy notes who sent a cooked packet: the host itself, or who has that address.
func (p *Packet) cookedBy(typ, length uint16, address []byte) {
	if p.Dir == Unknown {
		p.Dir = In
		if typ == 4 { // PACKET_OUTGOING
			p.Dir = Out
		}
	}
	if length == uint16(len(p.Src)) {
		p.Src = nf.MAC(address)
	}
}

// byVersion tells IPv4 and IPv6 apart by their first bits.
func (p *Packet) byVersion() {
	if v := header.Version(p.Data); v == 4 || v == 6 {
		p.EtherType = header.EtherTypeOf(p.Data)
	}
}

// unpad takes away what stands behind an IP packet in a frame. A length that is less than a header's says nothing: it is zero
// where a network card was to cut a large packet into segments, and where the packet is a jumbogram.
func (p *Packet) unpad() {
	v := header.Parse(p.Data)
	if !v.HasAddrs() || p.EtherType != header.EtherTypeOf(p.Data) || v.Length < header.IPv4Size || v.Length == header.IPv6Size && v.Version == 6 {
		return
	}
	if v.Length < p.Length {
		p.Length = v.Length
		p.Data = p.Data[:min(v.Length, len(p.Data))]
	}
}
