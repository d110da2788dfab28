package inject

import (
	"encoding/binary"
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/nf"
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
		setLength(p, len(p)-len(d.trailer))
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
func setLength(p Packet, n int) {
	at := 2
	if p[0]>>4 == 6 {
		at, n = 4, n-40
	}
	if n < 0 || n > maxLength {
		panic(fmt.Sprintf("inject: With: length %d does not fit into the header", n))
	}
	binary.BigEndian.PutUint16(p[at:], uint16(n))
}

// setSums makes those checksums right that were.
func (d *draft) setSums(p Packet, start int) {
	l4 := p[start : start+len(d.l4)]
	src, dst := d.addrs(p)
	at, size := sumField(d.proto, l4)
	field := l4[at : at+size]
	switch {
	case size == 0 || d.why != "":
	case d.right.l4Sum:
		if sum := transportSum(d.proto, src, dst, l4); !isSum(field, sum) {
			putSum(field, sum)
		}
	case d.part && size == 2:
		d.update(field, summed(d.proto, src, dst, l4))
	}
	if !d.v6() && d.right.headerSum && onesSum(summedHeader(p)) != 0xffff {
		p[10], p[11] = 0, 0
		binary.BigEndian.PutUint16(p[10:], ^onesSum(summedHeader(p)))
	}
}

// update changes the checksum of a first fragment as what is under it was changed, whether it is right or not: that
// takes the other fragments to tell (RFC 1624: HC' = ~(~HC + ~m + m')).
func (d *draft) update(field []byte, now uint16) {
	none := d.proto == nf.UDP && getSum(field) == 0
	if now == d.was || none {
		return
	}
	s := uint32(^uint16(getSum(field))) + uint32(^d.was) + uint32(now)
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	sum := uint32(^uint16(s))
	if sum == 0 && (d.proto == nf.UDP || d.proto == nf.UDPLite) {
		sum = 0xffff
	}
	putSum(field, sum)
}
