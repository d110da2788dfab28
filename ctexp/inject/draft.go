package inject

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// draft is a packet taken apart, so that it can be changed and put together again.
type draft struct {
	header  []byte      // of IPv4 with its options, or the 40 bytes of IPv6
	ext     []extension // of IPv6
	l4      []byte      // from the transport header to the end that the network header claims
	trailer []byte      // what is behind that

	proto nf.Proto
	why   string // why l4 does not begin with a transport header; "" if it does
	name  string // of the change under way
	part  bool   // it is a fragment, so that l4 is not all there is

	right struct{ length, headerSum, l4Length, l4Sum bool } // what was right before any change
	was   uint16                                            // summed before any change
	wrong []func(Packet)                                    // lengths and the like that are to be wrong, set before the checksums
	sums  []func(Packet)                                    // checksums that are to be wrong
	cut   int                                               // bytes that are left in the end; -1: all
}

// extension is one extension header of IPv6; its first byte says what comes behind it and is set in the end.
type extension struct {
	proto nf.Proto
	bytes []byte
}

// takeApart copies p into a draft. It fails where there is no whole IPv4 or IPv6 header.
func takeApart(p Packet) (*draft, error) {
	p = slices.Clone(p)
	d := &draft{cut: -1}
	switch {
	case len(p) == 0:
		return nil, fmt.Errorf("it is empty")
	case p[0]>>4 == 4 && len(p) >= 20:
		d.take4(p)
	case p[0]>>4 == 6 && len(p) >= 40:
		d.take6(p)
	case p[0]>>4 == 4 || p[0]>>4 == 6:
		return nil, fmt.Errorf("its header is cut after %d bytes", len(p))
	default:
		return nil, fmt.Errorf("its IP version is %d", p[0]>>4)
	}
	d.judge()
	return d, nil
}

func (d *draft) v6() bool { return d.header[0]>>4 == 6 }

func (d *draft) take4(p Packet) {
	n := int(p[0]&15) * 4
	if n < 20 || n > len(p) {
		d.why = "its header length is wrong"
		n = 20
	}
	d.header = p[:n:n]
	d.proto = nf.Proto(p[9])
	total := int(binary.BigEndian.Uint16(p[2:]))
	d.right.length = total == len(p)
	d.right.headerSum = onesSum(summedHeader(p)) == 0xffff
	frag := binary.BigEndian.Uint16(p[6:])
	d.fragment(int(frag&0x1fff), frag&0x2000 != 0)
	d.body(p[n:], total-n)
}

// summedHeader is what a receiver of p takes for the IPv4 header.
func summedHeader(p []byte) []byte {
	if n := int(p[0]&15) * 4; n >= 20 && n <= len(p) {
		return p[:n]
	}
	return p[:20]
}

func (d *draft) take6(p Packet) {
	d.header = p[:40:40]
	size := int(binary.BigEndian.Uint16(p[4:]))
	d.right.length = size == len(p)-40
	rest, next := p[40:], p[6]
	for {
		d.proto = nf.Proto(next)
		n := extensionLength(next, rest)
		if n == 0 {
			break
		}
		if n > len(rest) {
			d.why = "its extension headers are cut"
			break
		}
		d.ext = append(d.ext, extension{nf.Proto(next), rest[:n:n]})
		if next == protoFragment {
			f := binary.BigEndian.Uint16(rest[2:])
			d.fragment(int(f>>3), f&1 != 0)
		}
		next, rest = rest[0], rest[n:]
		if d.why != "" {
			d.proto = nf.Proto(next)
			break
		}
	}
	d.body(rest, size-(len(p)-40-len(rest)))
}

func (d *draft) fragment(offset int, more bool) {
	d.part = offset != 0 || more
	if offset != 0 && d.why == "" {
		d.why = "it is a later fragment"
	}
}

// body divides what is behind the headers at the end that they claim.
func (d *draft) body(b []byte, claimed int) {
	if claimed < 0 || claimed > len(b) {
		claimed = len(b)
	}
	d.l4 = b
	if claimed < len(b) && !d.sumIsRight() { // else the length alone is wrong
		d.l4, d.trailer = b[:claimed:claimed], b[claimed:]
		d.right.length = d.sumIsRight() // else who knows
	}
}

// judge notes what of the transport header is right.
func (d *draft) judge() {
	if d.why != "" {
		return
	}
	if at := lengthField(d.proto); at > 0 && len(d.l4) >= 8 {
		d.right.l4Length = int(binary.BigEndian.Uint16(d.l4[at:])) == len(d.l4)
	}
	d.right.l4Sum = d.sumIsRight()
	d.was = summed(d.proto, d.src(), d.dst(), d.l4)
}

// sumIsRight reports whether there is a checksum in l4, and a right one.
func (d *draft) sumIsRight() bool {
	at, size := sumField(d.proto, d.l4)
	if d.why != "" || size == 0 {
		return false
	}
	return isSum(d.l4[at:at+size], transportSum(d.proto, d.src(), d.dst(), d.l4))
}

// lengthField returns where the header has the length of the datagram, or of what its checksum covers; 0: nowhere.
func lengthField(p nf.Proto) int {
	if p == nf.UDP || p == nf.UDPLite {
		return 4
	}
	return 0
}

func (d *draft) src() []byte { src, _ := d.addrs(d.header); return src }
func (d *draft) dst() []byte { _, dst := d.addrs(d.header); return dst }

// addrs returns the addresses in b, which begins with d's header.
func (d *draft) addrs(b []byte) (src, dst []byte) {
	if d.v6() {
		return b[8:24], b[24:40]
	}
	return b[12:16], b[16:20]
}

// fragmentHeader returns the fragment header of IPv6, which the change under way needs.
func (d *draft) fragmentHeader() []byte {
	for _, e := range d.ext {
		if e.proto == protoFragment {
			return e.bytes
		}
	}
	d.fail("the packet has no fragment header: make fragments first")
	return nil
}
