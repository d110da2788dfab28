package inject

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// Field is one field of a packet, in words.
type Field struct{ Name, Value string }

// Fields returns the fields of p in their order, those of the packet that an ICMP error quotes with names that begin
// with "about ". A checksum is "right", or the number with the one that would be right, if all that it covers is there.
func (p Packet) Fields() []Field {
	var out []Field
	for _, f := range fieldsOf("", p) {
		out = append(out, Field{f.name, f.text()})
	}
	return out
}

// Diff compares two packets field by field: "" if they are equal, else a table of the fields that differ.
func Diff(want, got Packet) string {
	if bytes.Equal(want, got) {
		return ""
	}
	return diffFields("", want, got).String()
}

// diffFields has a row for each field in which the packets differ. Those of a quoted packet, of which some may be missing,
// have names that begin with a prefix.
func diffFields(prefix string, want, got Packet) table {
	var t table
	w, g := fieldsOf(prefix, want), fieldsOf(prefix, got)
	for _, f := range w {
		i := slices.IndexFunc(g, func(o field) bool { return o.name == f.name })
		switch {
		case i < 0:
			t.add(f.name, f.text(), absent)
			continue
		case f.isBytes && g[i].isBytes && !bytes.Equal(f.bytes, g[i].bytes):
			t.addBytes(f.name, f.bytes, g[i].bytes)
		case f.text() != g[i].text():
			t.add(f.name, f.text(), g[i].text())
		}
		g = slices.Delete(g, i, i+1)
	}
	for _, f := range g {
		t.add(f.name, absent, f.text())
	}
	if len(t) == 0 { // in what no field tells, such as padding
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
