package inject

import (
	"encoding/binary"
	"fmt"

	"github.com/ctexp/go-ctexp/internal/header"
)

// maxOffset is the largest offset of a fragment: 13 bits of eight bytes each.
const maxOffset = (1<<13 - 1) * 8

// Fragments cuts p into fragments of at most mtu bytes each, in their order. They have p's identification and its
// header, in IPv4 without Don't Fragment, in IPv6 with a fragment header behind the extension headers that routers
// look at. A packet that fits is one fragment, which is the packet itself. Each may be changed and sent in any order:
// With(ID(7)) gives IPv6 another identification than 0.
//
// It panics where p has no whole network header or mtu leaves no room for eight bytes behind it.
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
		panic(fmt.Sprintf("inject: Fragments: an MTU of %d leaves no room behind the headers of %v", mtu, p))
	}
	var out []Packet
	for offset, size := 0, len(d.fragmentable()); offset < size; offset += room {
		n := min(room, size-offset)
		out = append(out, p.Fragment(offset, n, offset+n < size))
	}
	return out
}

// Fragment returns the fragment of p with length of the bytes behind its network header from offset on, a multiple of
// 8; more says that others follow. By it fragments may overlap, leave gaps, or lack their end. Of a p that is a
// fragment itself the offset is counted from where p begins.
//
// It panics where p has no whole network header, has no such bytes, or its field has no room for the offset.
func (p Packet) Fragment(offset, length int, more bool) Packet {
	d := mustTakeApart("Fragment", p)
	body := d.fragmentable()
	switch {
	case offset < 0 || length < 0 || offset+length > len(body):
		panic(fmt.Sprintf("inject: Fragment: bytes %d to %d of %d", offset, offset+length, len(body)))
	case offset%8 != 0:
		panic(fmt.Sprintf("inject: Fragment: offset %d is no multiple of 8", offset))
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
	d.fault, d.part = header.LaterFragment, true // whichever it is, its checksum is not whole
	return d.assemble()
}

func (d *draft) checkOffset(offset int) {
	if offset > maxOffset {
		panic(fmt.Sprintf("inject: Fragment: offset %d is beyond %d", offset, maxOffset))
	}
}

// perFragment returns how many extension headers each fragment repeats: those up to the last one that routers look at
// (RFC 8200, 4.5), or up to the fragment header that there is.
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

// fragmentable returns what fragments divide among them.
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

// fragment6 leaves those extension headers that a fragment has, the fragment header last.
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

func mustTakeApart(name string, p Packet) *draft {
	d, err := takeApart(p)
	if err != nil {
		panic(fmt.Sprintf("inject: %s: %v", name, err))
	}
	d.name = name
	return d
}
