package inject

import (
	"encoding/binary"
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// assemble puts the draft together: lengths that were right are made right, then comes what is to be wrong, then the
// checksums that were right, and last those that are to be wrong.
func (d *draft) assemble() Packet {
	d.link()
	if at := lengthField(d.proto); d.right.l4Length {
		if len(d.l4) > maxLength {
			panic(fmt.Sprintf("inject: With: a datagram of %d bytes is longer than %d", len(d.l4), maxLength))
		}
		binary.BigEndian.PutUint16(d.l4[at:], uint16(len(d.l4)))
	}
	p := append(Packet(nil), d.header...)
	for _, e := range d.ext {
		p = append(p, e.bytes...)
	}
	start := len(p) // of the transport header
	p = append(append(p, d.l4...), d.trailer...)
	if d.right.length {
		d.setLength(p, len(p)-len(d.trailer))
	}
	for _, f := range d.wrong {
		f(p)
	}
	d.setSums(p, start)
	for _, f := range d.sums {
		f(p)
	}
	if d.cut >= 0 {
		p = p[:min(d.cut, len(p))]
	}
	return p
}

// start returns where the transport header begins in the packet.
func (d *draft) start() int {
	n := len(d.header)
	for _, e := range d.ext {
		n += len(e.bytes)
	}
	return n
}

// protoAt returns where the packet says what protocol is behind the network layer.
func (d *draft) protoAt() int {
	switch {
	case !d.v6():
		return 9
	case len(d.ext) == 0:
		return 6
	}
	return d.start() - len(d.ext[len(d.ext)-1].bytes)
}

// link writes into each header the number of the next.
func (d *draft) link() {
	if !d.v6() {
		d.header[9] = byte(d.proto)
		return
	}
	next := &d.header[6]
	for _, e := range d.ext {
		*next = byte(e.proto)
		next = &e.bytes[0]
	}
	*next = byte(d.proto)
}

// setLength writes n into the network header of p as the length of the whole packet.
func (d *draft) setLength(p Packet, n int) {
	at := 2
	if d.v6() {
		at, n = 4, n-header.IPv6Size
	}
	if n < 0 || n > maxLength {
		panic(fmt.Sprintf("inject: With: length %d does not fit into the header", n))
	}
	binary.BigEndian.PutUint16(p[at:], uint16(n))
}

// setSums makes those checksums right that were.
func (d *draft) setSums(p Packet, start int) {
	l4 := p[start : start+len(d.l4)]
	field := d.sumField(l4)
	switch {
	case len(field) == 0 || d.fault != header.NoFault:
	case d.right.l4Sum:
		if sum := d.rightSum(p, l4); !header.IsSum(field, sum) {
			header.PutSum(field, sum)
		}
	case d.part && len(field) == 2:
		d.update(field, d.summed(l4))
	}
	if d.right.headerSum && !header.IsHeaderSumRight(p) {
		header.SetHeaderSum(p)
	}
}

// update changes the checksum of a first fragment as what is under it was changed, whether it is right or not: that
// takes the other fragments to tell.
func (d *draft) update(field []byte, now uint16) {
	sum := uint16(header.GetSum(field))
	none := d.proto == nf.UDP && sum == 0
	if now == d.was || none {
		return
	}
	header.PutSum(field, uint32(header.NonZero(uint8(d.proto), header.Adjust(sum, header.Delta(d.was, now)))))
}
