package packet

import (
	"encoding/binary"
	"fmt"

	"github.com/ctexp/go-ctexp/internal/header"
)

// maxOffset is the largest offset of a fragment: 13 bits, in units of 8 bytes.
const maxOffset = (1<<13 - 1) * 8

// Fragments splits p into fragments of at most mtu bytes each, in their order. They have p's identification and header, in
// IPv4 without Don't Fragment, in IPv6 with a fragment header after the extension headers that routers process. A packet
// that fits is returned as it is. Fragments may be changed and sent in any order: With(ID(7)) gives those of IPv6 another
// identification than 0.
//
// It panics if p has no complete network header or mtu leaves no room for 8 bytes after it.
func (p Packet) Fragments(mtu int) []Packet {
	d := mustTakeApart("Fragments", p)
	if len(p) <= mtu {
		return []Packet{p.With()}
	}
	room := mtu - len(d.header)
	for _, e := range d.ext[:d.perFragment()] {
		room -= len(e.bytes)
	}
	if d.v6() && !d.part {
		room -= 8
	}
	room -= room % 8
	if room < 8 {
		panic(fmt.Sprintf("packet: Fragments: an MTU of %d leaves no room after the headers of %v", mtu, p))
	}
	var out []Packet
	for offset, size := 0, len(d.fragmentable()); offset < size; offset += room {
		n := min(room, size-offset)
		out = append(out, p.Fragment(offset, n, offset+n < size))
	}
	return out
}

// Fragment returns the fragment of p that has length bytes of its payload, from offset, a multiple of 8; more sets More
// Fragments. Fragments made so may overlap, leave gaps, or lack the last one. If p is a fragment itself, offset is relative
// to its beginning.
//
// It panics if p has no complete network header, has no such bytes, or the offset does not fit its field.
func (p Packet) Fragment(offset, length int, more bool) Packet {
	d := mustTakeApart("Fragment", p)
	body := d.fragmentable()
	switch {
	case offset < 0 || length < 0 || offset+length > len(body):
		panic(fmt.Sprintf("packet: Fragment: bytes %d to %d of %d", offset, offset+length, len(body)))
	case offset%8 != 0:
		panic(fmt.Sprintf("packet: Fragment: offset %d is not a multiple of 8", offset))
	}
	body = body[offset : offset+length]
	if !d.v6() {
		offset += d.view.FragOffset
		d.checkOffset(offset)
		binary.BigEndian.PutUint16(d.header[6:], uint16(d.header[6]&0x80)<<8|bit(more || d.view.More, 0x2000)|uint16(offset/8))
	} else {
		offset, more = d.fragment6(offset, more)
		d.checkOffset(offset)
		binary.BigEndian.PutUint16(d.ext[len(d.ext)-1].bytes[2:], uint16(offset)|bit(more, 1))
	}
	d.l4, d.trailer = body, nil
	d.right.length, d.right.l4Length, d.right.l4Sum = true, false, false
	d.fault, d.part = header.LaterFragment, true // also for the first: its checksum must not be changed
	return d.assemble()
}

func (d *draft) checkOffset(offset int) {
	if offset > maxOffset {
		panic(fmt.Sprintf("packet: Fragment: offset %d is beyond %d", offset, maxOffset))
	}
}

// perFragment returns how many extension headers each fragment repeats: those up to the last one that routers process (RFC
// 8200, 4.5), or up to an existing fragment header.
func (d *draft) perFragment() int {
	n := 0
	for i, e := range d.ext {
		switch e.proto {
		case header.ProtoHopByHop, header.ProtoRouting, header.ProtoFragment:
			n = i + 1
		}
	}
	return n
}

// fragmentable returns the bytes that are divided among the fragments.
func (d *draft) fragmentable() []byte {
	var b []byte
	if d.v6() {
		d.link()
		for _, e := range d.ext[d.perFragment():] {
			b = append(b, e.bytes...)
		}
	}
	return append(b, d.l4...)
}

// fragment6 keeps the extension headers that each fragment has, the fragment header last, and returns the offset and More
// Fragments in the original packet.
func (d *draft) fragment6(offset int, more bool) (int, bool) {
	n := d.perFragment()
	next := d.proto
	if n < len(d.ext) {
		next = d.ext[n].proto
	}
	d.ext, d.proto = d.ext[:n:n], next
	if n > 0 && d.ext[n-1].proto == header.ProtoFragment {
		return offset + d.view.FragOffset, more || d.view.More
	}
	d.ext = append(d.ext, extension{header.ProtoFragment, make([]byte, 8)})
	return offset, more
}
