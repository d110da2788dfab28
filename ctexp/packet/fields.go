package packet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/pktline"
)

// Field is one field of a packet as text.
type Field struct {
	// Name is its name: "ttl", "src port", "about seq".
	Name string
	// Value is its value.
	Value string
}

// Fields returns the fields of p in their order. The names of the fields of a quoted packet begin with "about ". A checksum is
// "right", or the value with the right one, if all that it covers is there.
func (p Packet) Fields() []Field {
	var out []Field
	for _, f := range fieldsOf("", p) {
		out = append(out, Field{f.name, f.text()})
	}
	return out
}

// Diff compares two packets field by field. It returns "" if they are equal, else a table of the fields that differ.
func Diff(want, got Packet) string {
	if bytes.Equal(want, got) {
		return ""
	}
	return diffFields("", want, got).String()
}

// diffFields returns a row for each field that differs. The prefix of the field names is not empty for a quoted packet, which
// may be truncated.
func diffFields(prefix string, want, got Packet) Rows {
	var t Rows
	w, g := fieldsOf(prefix, want), fieldsOf(prefix, got)
	for _, f := range w {
		i := slices.IndexFunc(g, func(o field) bool { return o.name == f.name })
		switch {
		case i < 0:
			t.Add(f.name, f.text(), absent)
			continue
		case f.isBytes && g[i].isBytes && !bytes.Equal(f.bytes, g[i].bytes):
			t.addBytes(f.name, f.bytes, g[i].bytes)
		case f.text() != g[i].text():
			t.Add(f.name, f.text(), g[i].text())
		}
		g = slices.Delete(g, i, i+1)
	}
	for _, f := range g {
		t.Add(f.name, absent, f.text())
	}
	if len(t) == 0 { // they differ outside of all fields, such as in padding
		t.addBytes(prefix+"bytes", want, got)
	}
	return t
}

// field is a Field whose value may be bytes.
type field struct {
	name, value string
	bytes       []byte
	isBytes     bool
}

func (f field) text() string {
	if !f.isBytes {
		return f.value
	}
	switch {
	case len(f.bytes) == 0:
		return "empty"
	case isPrintable(f.bytes):
		return fmt.Sprintf("%q", f.bytes)
	}
	return fmt.Sprintf("%x (%d bytes)", f.bytes, len(f.bytes))
}

func isPrintable(b []byte) bool {
	return !bytes.ContainsFunc(b, func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' || r > '~' })
}

// fieldList collects fields, whose names begin with prefix.
type fieldList struct {
	prefix string
	list   []field
}

func (l *fieldList) add(name, format string, args ...any) {
	l.list = append(l.list, field{name: l.prefix + name, value: fmt.Sprintf(format, args...)})
}

func (l *fieldList) addBytes(name string, b []byte) {
	l.list = append(l.list, field{name: l.prefix + name, bytes: b, isBytes: true})
}

func fieldsOf(prefix string, p Packet) []field {
	l := &fieldList{prefix: prefix}
	l.packet(p)
	return l.list
}

func (l *fieldList) packet(p Packet) {
	d, err := takeApart(p)
	if err != nil {
		l.addBytes("bytes", p)
		return
	}
	if d.v6() {
		l.network6(d, p)
	} else {
		l.network4(d, p)
	}
	if d.fault == header.NoFault {
		l.transport(d)
	} else {
		l.addBytes("payload", d.l4)
	}
	if len(d.trailer) > 0 {
		l.addBytes("trailer", d.trailer)
	}
}

func (l *fieldList) network4(d *draft, p Packet) {
	word := func(at int) uint16 { return binary.BigEndian.Uint16(p[at:]) }
	l.add("version", "4")
	l.add("ihl", "%d", p[0]&15)
	l.add("tos", "%#02x", p[1])
	l.length(d, p)
	l.add("id", "%d", word(4))
	var flags []string
	for i, name := range []string{"reserved", "DF", "MF"} {
		if p[6]&(0x80>>i) != 0 {
			flags = append(flags, name)
		}
	}
	l.add("fragment", "%s offset %d", "["+strings.Join(flags, " ")+"]", d.view.FragOffset)
	l.add("ttl", "%d", p[d.view.TTLAt()])
	l.add("protocol", "%s", protoText(d.proto))
	if d.right.headerSum {
		l.add("header checksum", "right")
	} else {
		l.add("header checksum", "%#04x, right is %#04x", word(header.HeaderSumAt), header.HeaderSum(p))
	}
	l.addrs(d)
	if len(d.header) > 20 {
		l.add("ip options", "%x", d.header[20:])
	}
}

func (l *fieldList) network6(d *draft, p Packet) {
	l.add("version", "6")
	l.add("tos", "%#02x", d.view.TOS(p))
	l.add("flow label", "%#05x", uint32(p[1]&15)<<16|uint32(binary.BigEndian.Uint16(p[2:])))
	l.length(d, p)
	l.add("ttl", "%d", p[d.view.TTLAt()])
	l.add("protocol", "%s", protoText(d.proto))
	l.addrs(d)
	names := map[nf.Proto]string{
		header.ProtoHopByHop: "hop-by-hop", header.ProtoRouting: "routing", header.ProtoDestination: "destination options", header.ProtoAH: "ah",
	}
	for _, e := range d.ext {
		if e.proto == header.ProtoFragment {
			f := binary.BigEndian.Uint16(e.bytes[2:])
			l.add("fragment", "id %d offset %d more %v", binary.BigEndian.Uint32(e.bytes[4:]), f&0xfff8, f&1 != 0)
			continue
		}
		l.add(names[e.proto], "%x", e.bytes[1:])
	}
}

func (l *fieldList) addrs(d *draft) {
	l.add("src", "%v", d.view.Src(d.header))
	l.add("dst", "%v", d.view.Dst(d.header))
}

func (l *fieldList) length(d *draft, p Packet) {
	if d.right.length {
		l.add("length", "%d", d.view.Length)
		return
	}
	l.add("length", "%d, there are %d", d.view.Length, len(p))
}

// transport adds the fields of the transport header and the payload.
func (l *fieldList) transport(d *draft) {
	b := d.l4
	n := d.headerLength()
	if n > len(b) && (d.proto != nf.TCP || len(b) < 20) {
		l.addBytes("cut header", b[l.cut(d.proto, b):])
		return
	}
	if n > len(b) { // the header claims more options than there are bytes
		n = 20
	}
	if d.proto.HasPorts() {
		l.ports(b)
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
		if len(l.prefix) < 100 { // limits the depth of quotes within quotes
			inner.packet(about)
		}
		l.list = append(l.list, inner.list...)
		return
	}
	if d.proto != nf.SCTP {
		l.addBytes("payload", b[n:])
	}
}

// cut adds the fields at the beginning of a header that is cut, as errors quote 8 bytes of it (RFC 792), and returns how many bytes they have.
func (l *fieldList) cut(p nf.Proto, b []byte) (n int) {
	if p.HasPorts() && len(b) >= 4 {
		l.ports(b)
		n = 4
	}
	if p == nf.TCP && len(b) >= 8 {
		l.add("seq", "%d", binary.BigEndian.Uint32(b[4:]))
		n = 8
	}
	return n
}

func (l *fieldList) ports(b []byte) {
	l.add("src port", "%d", binary.BigEndian.Uint16(b))
	l.add("dst port", "%d", binary.BigEndian.Uint16(b[2:]))
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
	case d.part || !d.right.length && l.prefix != "": // part of what it covers is missing
		l.add("checksum", "%#0*x, not whole", width, got)
	case d.proto == nf.UDP && got == 0 && !d.v6():
		l.add("checksum", "none")
	default:
		l.add("checksum", "%#0*x, right is %#0*x", width, got, width, d.rightSum(d.l4))
	}
}

// claim adds the length field of a datagram.
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
		l.add("options", "%s", pktline.Options(b[header.TCPSize:n]))
	}
}

func (l *fieldList) icmp(p nf.Proto, b []byte) {
	l.add("type", "%d", b[0])
	l.add("code", "%d", b[1])
	if header.IsQuery(uint8(p), b[0]) {
		l.add("query id", "%d", binary.BigEndian.Uint16(b[4:]))
		l.add("seq", "%d", binary.BigEndian.Uint16(b[6:]))
		return
	}
	l.add("rest", "%#08x", binary.BigEndian.Uint32(b[4:]))
	if p == nf.ICMPv6 && b[0] == layers.ICMPv6TypeRedirect && len(b) >= 40 { // RFC 4861, 4.5
		l.add("target", "%v", netip.AddrFrom16([16]byte(b[8:24])))
		l.add("destination", "%v", netip.AddrFrom16([16]byte(b[24:40])))
	}
}

func (l *fieldList) sctp(b []byte) {
	l.add("tag", "%d", binary.BigEndian.Uint32(b[4:]))
	chunks := b[12:]
	for i, text := range pktline.Chunks(chunks) {
		l.add(fmt.Sprintf("chunk %d", i+1), "%s", text)
	}
	l.addBytes("chunks", chunks)
}

func (l *fieldList) dccp(b []byte) {
	typ := DCCPType(b[8] >> 1 & 15)
	l.add("type", "%v", typ)
	l.add("data offset", "%d", b[4])
	l.add("ccval", "%d", b[5]>>4)
	l.add("cscov", "%d", b[5]&15)
	n := max(12, int(b[4])*4)
	if b[8]&1 == 0 || n < 16 {
		l.add("seq", "%d", uint32(b[9])<<16|uint32(binary.BigEndian.Uint16(b[10:])))
		l.addBytes("header", b[12:n])
		return
	}
	l.add("seq", "%d", binary.BigEndian.Uint64(b[8:])&(1<<48-1))
	at := 16
	if typ != DCCPRequest && typ != DCCPData && n >= at+8 {
		l.add("ack", "%d", binary.BigEndian.Uint64(b[at:])&(1<<48-1))
		at += 8
	}
	if n >= at+4 {
		switch typ {
		case DCCPRequest, DCCPResponse:
			l.add("service", "%d", binary.BigEndian.Uint32(b[at:]))
			at += 4
		case DCCPReset:
			l.add("reset code", "%d", b[at])
			at += 4
		}
	}
	if at < n {
		l.addBytes("options", b[at:n])
	}
}

func (l *fieldList) gre(b []byte) {
	g := header.ParseGRE(b)
	l.add("gre version", "%d", g.Version)
	l.add("gre flags", "%#04x", binary.BigEndian.Uint16(b)&^7)
	l.add("gre protocol", "%#04x", g.Protocol)
	for _, f := range []struct {
		name string
		at   int
	}{{"key", g.Key}, {"seq", g.Seq}, {"ack", g.Ack}} {
		if f.at > 0 {
			l.add(f.name, "%d", binary.BigEndian.Uint32(b[f.at:]))
		}
	}
}

// protoText returns the protocol's name as prose writes it.
func protoText(p nf.Proto) string {
	names := map[nf.Proto]string{
		nf.TCP: "TCP", nf.UDP: "UDP", nf.UDPLite: "UDP-Lite", nf.ICMP: "ICMP", nf.ICMPv6: "ICMPv6", nf.SCTP: "SCTP",
		nf.DCCP: "DCCP", nf.GRE: "GRE", header.ProtoIGMP: "IGMP",
	}
	if n, ok := names[p]; ok {
		return n
	}
	return fmt.Sprintf("protocol %d", uint8(p))
}
