package pcapfile

import (
	"encoding/binary"
	"fmt"

	"github.com/gopacket/gopacket/layers"
)

const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd

	firstEtherType = 0x0600 // what is less is the length of an IEEE 802.3 frame

	arphrdNetlink = 824 // include/uapi/linux/if_arp.h
)

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
		p.EtherType = etherIPv4
	case layers.LinkTypeIPv6:
		p.EtherType = etherIPv6
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
	h := p.take(14)
	if h == nil {
		return
	}
	p.Dst, p.Src = MAC(h), MAC(h[6:])
	p.protocol(binary.BigEndian.Uint16(h[12:]))
}

// protocol sets the EtherType to what is behind the tags of virtual networks.
func (p *Packet) protocol(t uint16) {
	for t == 0x8100 || t == 0x88a8 || t == 0x9100 { // 802.1Q, 802.1ad, and what was before it
		tag := p.take(4)
		if tag == nil {
			return
		}
		if p.VLAN == 0 {
			p.VLAN = binary.BigEndian.Uint16(tag) & 0xfff
		}
		p.Tags = append(binary.BigEndian.AppendUint16(p.Tags, t), tag[:2]...)
		t = binary.BigEndian.Uint16(tag[2:])
	}
	if t >= firstEtherType {
		p.EtherType = t
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
		p.Src = MAC(address)
	}
}

// byVersion tells IPv4 and IPv6 apart by their first bits.
func (p *Packet) byVersion() {
	if len(p.Data) == 0 {
		return
	}
	switch p.Data[0] >> 4 {
	case 4:
		p.EtherType = etherIPv4
	case 6:
		p.EtherType = etherIPv6
	}
}

// unpad takes away what stands behind an IP packet in a frame.
func (p *Packet) unpad() {
	n := p.Length
	switch {
	case p.EtherType == etherIPv4 && len(p.Data) >= 20:
		n = int(binary.BigEndian.Uint16(p.Data[2:]))
		if n < 20 { // zero where a network card was to cut a large packet into segments
			return
		}
	case p.EtherType == etherIPv6 && len(p.Data) >= 40:
		if n = int(binary.BigEndian.Uint16(p.Data[4:])); n == 0 { // also where it is a jumbogram
			return
		}
		n += 40
	}
	if n < p.Length {
		p.Length = n
		p.Data = p.Data[:min(n, len(p.Data))]
	}
}
