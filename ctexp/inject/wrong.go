package inject

import (
	"encoding/binary"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// What With makes wrong on purpose. These changes come after the others.

// Version sets the version of IP and nothing else. A tun takes no other than 4 and 6 (drivers/net/tun.c, tun_get_user).
func Version(n uint8) Change {
	return Change{"Version", func(d *draft) {
		d.fits(int(n), 15)
		d.wrong = append(d.wrong, func(p Packet) { p[0] = n<<4 | p[0]&15 })
	}}
}

// IHL sets the header length of IPv4 in words of four bytes; the header stays as long as it is. 5 is right where there
// are no options.
func IHL(n uint8) Change {
	return Change{"IHL", func(d *draft) {
		d.only4()
		d.fits(int(n), 15)
		d.wrong = append(d.wrong, func(p Packet) { p[0] = p[0]&0xf0 | n })
	}}
}

// TotalLength sets the length of the whole packet in bytes as its network header claims it, in IPv6 by the payload
// length, which is 40 less.
func TotalLength(n int) Change {
	return Change{"TotalLength", func(d *draft) {
		claim := n
		if d.v6() {
			claim -= len(d.header)
		}
		d.fits(claim, maxLength)
		d.wrong = append(d.wrong, func(p Packet) { d.setLength(p, n) })
	}}
}

// FragmentOffset makes the packet claim to be the fragment at offset, a multiple of 8 up to 65528, with more to come or
// not. IPv6 needs a fragment header for that, which Fragment makes.
func FragmentOffset(offset int, more bool) Change {
	return Change{"FragmentOffset", func(d *draft) {
		if offset%8 != 0 {
			d.fail("%d is no multiple of 8", offset)
		}
		d.fits(offset, maxOffset)
		if d.v6() {
			h := d.fragmentHeader()
			binary.BigEndian.PutUint16(h[2:], uint16(offset)|bit(more, 1))
			return
		}
		d.wrong = append(d.wrong, func(p Packet) {
			binary.BigEndian.PutUint16(p[6:], uint16(p[6]&0xc0)<<8|bit(more, 0x2000)|uint16(offset/8))
		})
	}}
}

// Proto sets the number of the protocol behind the network header, in IPv6 behind the last extension header, and
// nothing else.
func Proto(n nf.Proto) Change {
	return Change{"Proto", func(d *draft) {
		d.wrong = append(d.wrong, func(p Packet) { p[d.protoAt()] = byte(n) })
	}}
}

// HeaderChecksum sets the checksum of the IPv4 header.
func HeaderChecksum(n uint16) Change {
	return Change{"HeaderChecksum", func(d *draft) {
		d.only4()
		d.sums = append(d.sums, func(p Packet) { binary.BigEndian.PutUint16(p[header.HeaderSumAt:], n) })
	}}
}

// DataOffset sets the header length of TCP in words of four bytes; the header stays as long as it is. 5 is right where
// there are no options.
func DataOffset(n uint8) Change {
	return Change{"DataOffset", func(d *draft) {
		d.ofTCP(0, 20)
		d.fits(int(n), 15)
		d.wrong = append(d.wrong, func(p Packet) { p[d.start()+12] = n<<4 | p[d.start()+12]&15 })
	}}
}

// UDPLength sets the length that a UDP header claims for header and payload, in UDP-Lite what the checksum covers.
func UDPLength(n uint16) Change {
	return Change{"UDPLength", func(d *draft) {
		if d.fault == header.NoFault && d.proto != nf.UDP && d.proto != nf.UDPLite {
			d.fail("a packet of %s is no datagram", protoText(d.proto))
		}
		d.transport(4, 2)
		d.wrong = append(d.wrong, func(p Packet) { binary.BigEndian.PutUint16(p[d.start()+4:], n) })
	}}
}

// Checksum sets the checksum of the transport header: CRC32c in SCTP, 16 bits in all others. In UDP over IPv4, 0 says that
// there is none.
func Checksum(n uint32) Change {
	return Change{"Checksum", func(d *draft) {
		at, size := header.SumField(uint8(d.proto), d.transport(0, 0)[:len(d.l4)])
		switch {
		case size == 0:
			d.fail("this packet of %s has none", protoText(d.proto))
		case size == 2 && n > maxLength:
			d.fail("%#x has more than 16 bits", n)
		}
		d.sums = append(d.sums, func(p Packet) { header.PutSum(p[d.start()+at:][:size], n) })
	}}
}

// Truncate cuts the packet to its first n bytes, while its headers claim the rest, too.
func Truncate(n int) Change {
	return Change{"Truncate", func(d *draft) {
		if n < 0 {
			d.fail("to %d bytes", n)
		}
		d.cut = n
	}}
}

// fits panics where n is not in 0 to max.
func (d *draft) fits(n, max int) {
	if n < 0 || n > max {
		d.fail("%d does not fit: want 0 to %d", n, max)
	}
}

func (d *draft) only4() {
	if d.v6() {
		d.fail("IPv6 has none")
	}
}

// bit returns b where on is true, else 0.
func bit(on bool, b uint16) uint16 {
	if on {
		return b
	}
	return 0
}
