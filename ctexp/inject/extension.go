package inject

import (
	"encoding/binary"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// The extension headers of IPv6 are changes that insert one: behind those that are there, in front of the transport
// header; a hop-by-hop header in front of all, and in a fragment each in front of the fragment header, which is what
// all fragments have.

// HopByHop inserts options that every router looks at, written as they are and padded. Without any it is all padding.
func HopByHop(options ...byte) Change {
	return Change{"HopByHop", func(d *draft) { d.insert(header.ProtoHopByHop, padded(options)) }}
}

// DestinationOptions inserts options for the destination, written as they are and padded.
func DestinationOptions(options ...byte) Change {
	return Change{"DestinationOptions", func(d *draft) { d.insert(header.ProtoDestination, padded(options)) }}
}

// Routing inserts a routing header of a type with so many segments left and data of its own, whose length is 4 bytes
// more than a multiple of 8: for a segment routing header of one segment, Routing(4, 0, append(make([]byte, 4),
// segment.AsSlice()...)...). Checksums go by the address in the network header in any case, as netfilter checks them.
func Routing(typ, segmentsLeft uint8, data ...byte) Change {
	return Change{"Routing", func(d *draft) { d.insert(header.ProtoRouting, append([]byte{typ, segmentsLeft}, data...)) }}
}

// AH inserts an authentication header with a security association, a sequence number and an integrity check value, whose
// length is 4 bytes more than a multiple of 8. For IPv4 use Flow.Raw.
func AH(spi, seq uint32, icv ...byte) Change {
	return Change{"AH", func(d *draft) {
		b := binary.BigEndian.AppendUint32([]byte{0, 0}, spi)
		d.insert(header.ProtoAH, append(binary.BigEndian.AppendUint32(b, seq), icv...))
	}}
}

// padded returns options with the padding that makes them, and the two bytes in front, a multiple of 8 bytes.
func padded(options []byte) []byte {
	b := append([]byte(nil), options...)
	switch n := (6 - len(b)) & 7; n {
	case 0:
	case 1:
		b = append(b, 0) // Pad1
	default:
		b = append(append(b, 1, byte(n-2)), make([]byte, n-2)...) // PadN
	}
	return b
}

// insert adds the extension header with all that it has behind its length.
func (d *draft) insert(p nf.Proto, body []byte) {
	if !d.v6() {
		d.fail("IPv4 has no extension headers")
	}
	b := append([]byte{0, 0}, body...)
	if len(b)%8 != 0 || len(b) > 256*8 {
		d.fail("a header of %d bytes: want a multiple of 8, up to %d", len(b), 256*8)
	}
	b[1] = byte(len(b)/8 - 1)
	if p == header.ProtoAH {
		b[1] = byte(len(b)/4 - 2) // RFC 4302, 2.2
	}
	at := len(d.ext)
	for i, e := range d.ext {
		if e.proto == header.ProtoFragment {
			at = i
			break
		}
	}
	if p == header.ProtoHopByHop {
		at = 0
	}
	d.ext = append(d.ext[:at:at], append([]extension{{p, b}}, d.ext[at:]...)...)
}
