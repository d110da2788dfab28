package inject

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/pktline"
)

// transport adds the fields of the transport header and what is behind it.
func (l *fieldList) transport(d *draft) {
	b := d.l4
	n := d.headerLength()
	if n > len(b) && (d.proto != nf.TCP || len(b) < 20) {
		l.addBytes("cut header", b)
		return
	}
	if n > len(b) { // the header claims more options than there are bytes
		n = 20
	}
	if d.proto.HasPorts() {
		l.add("src port", "%d", binary.BigEndian.Uint16(b))
		l.add("dst port", "%d", binary.BigEndian.Uint16(b[2:]))
	}
	switch d.proto {
	case nf.TCP:
		l.tcp(b)
	case nf.UDP:
		l.claim(d, "udp length", b)
	case nf.UDPLite:
		l.claim(d, "coverage", b)
	case nf.ICMP, nf.ICMPv6:
		l.icmp(d.proto, b)
	case nf.SCTP:
		l.sctp(b)
	case nf.DCCP:
		l.dccp(b)
	case nf.GRE:
		l.gre(b)
	case header.ProtoIGMP:
		l.add("igmp type", "%#02x", b[0])
		l.add("max response", "%d", b[1])
		group, _ := netip.AddrFromSlice(b[4:8])
		l.add("group", "%v", group)
	}
	l.checksum(d)
	if about := header.Quoted(uint8(d.proto), b); about != nil {
		inner := &fieldList{prefix: l.prefix + "about "}
		if len(l.prefix) < 100 { // an error about an error about … ends there
			inner.packet(about)
		}
		l.list = append(l.list, inner.list...)
		return
	}
	if d.proto != nf.SCTP {
		l.addBytes("payload", b[n:])
	}
}

func (l *fieldList) checksum(d *draft) {
	field := d.sumField(d.l4)
	if len(field) == 0 {
		return
	}
	got, width := header.GetSum(field), 2*len(field)
	switch {
	case d.right.l4Sum:
		l.add("checksum", "right")
	case d.part || !d.right.length && l.prefix != "": // not all that it covers is there
		l.add("checksum", "%#0*x, not whole", width, got)
	case d.proto == nf.UDP && got == 0:
		l.add("checksum", "none")
	default:
		l.add("checksum", "%#0*x, right is %#0*x", width, got, width, d.rightSum(d.header, d.l4))
	}
}

// claim adds the length in a datagram's header.
func (l *fieldList) claim(d *draft, name string, b []byte) {
	n := binary.BigEndian.Uint16(b[4:])
	if d.right.l4Length || d.part {
		l.add(name, "%d", n)
		return
	}
	l.add(name, "%d, there are %d", n, len(b))
}

func (l *fieldList) tcp(b []byte) {
	l.add("seq", "%d", binary.BigEndian.Uint32(b[4:]))
	l.add("ack", "%d", binary.BigEndian.Uint32(b[8:]))
	l.add("data offset", "%d", b[12]>>4)
	flags := TCPFlags(b[13]).String()
	if b[12]&15 != 0 {
		flags += fmt.Sprintf(" reserved %#x", b[12]&15)
	}
	l.add("flags", "[%s]", flags)
	l.add("win", "%d", binary.BigEndian.Uint16(b[14:]))
	l.add("urgent", "%d", binary.BigEndian.Uint16(b[18:]))
	if n := max(20, int(b[12]>>4)*4); n > 20 && n <= len(b) {
		l.add("options", "%s", pktline.Options(b[:n]))
	}
}

func (l *fieldList) icmp(p nf.Proto, b []byte) {
	l.add("type", "%d", b[0])
	l.add("code", "%d", b[1])
	if query(p, b[0]) {
		l.add("id", "%d", binary.BigEndian.Uint16(b[4:]))
		l.add("seq", "%d", binary.BigEndian.Uint16(b[6:]))
		return
	}
	l.add("rest", "%#08x", binary.BigEndian.Uint32(b[4:]))
}

// query reports whether messages of the type have an identifier and a sequence number.
func query(p nf.Proto, typ uint8) bool {
	if p == nf.ICMPv6 {
		return typ == 128 || typ == 129
	}
	return typ == 0 || typ == 8 || typ >= 13 && typ <= 18
}
