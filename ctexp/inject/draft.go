package inject

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// draft is a packet taken apart, so that it can be changed and put together again.
type draft struct {
	view    header.View // of the packet before any change
	header  []byte      // of IPv4 with its options, or the 40 bytes of IPv6
	ext     []extension // of IPv6
	l4      []byte      // from the transport header to the end that the network header claims
	trailer []byte      // what is behind that

	proto nf.Proto
	fault header.Fault // why l4 does not begin with a transport header
	name  string       // of the change under way
	part  bool         // it is a fragment, so that l4 is not all there is

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

// takeApart copies p into a draft. It fails where there is no whole IPv4 or IPv6 header. A header length of IPv4 that is
// wrong is none to the kernel, but may be what is to be changed: such a header has 20 bytes here.
func takeApart(p Packet) (*draft, error) {
	v := header.Parse(p)
	switch v.Fault {
	case header.CutHeader:
		return nil, fmt.Errorf("its header is cut after %d bytes", len(p))
	case header.BadVersion:
		return nil, fmt.Errorf("its IP version is %d", header.Version(p))
	case header.Empty:
		return nil, fmt.Errorf("%v", v.Fault)
	}
	p = slices.Clone(p)
	d := &draft{cut: -1}
	d.right.length = v.Length == len(p)
	d.right.headerSum = v.Version == 4 && header.IsHeaderSumRight(p)
	d.take(p, header.ParseAll(p))
	// A right checksum over all that there is says that the length alone is wrong.
	if v.End < len(p) && v.Fault != header.BadLength && !d.sumIsRight() {
		d.take(p, v)
		d.right.length = d.sumIsRight() // else who knows
	}
	d.judge()
	return d, nil
}

// take divides p as v says.
func (d *draft) take(p Packet, v header.View) {
	headers := v.Transport
	if v.Version == 6 {
		headers = header.IPv6Size
	}
	d.view, d.proto, d.fault, d.part = v, nf.Proto(v.Proto), v.Fault, v.IsFragment()
	d.header, d.l4, d.trailer = p[:headers:headers], p[v.Transport:v.End:v.End], p[v.End:]
	d.ext = nil
	for e := range v.Extensions(p) {
		end := e.At + e.Length
		d.ext = append(d.ext, extension{nf.Proto(e.Proto), p[e.At:end:end]})
	}
}

func (d *draft) v6() bool { return d.view.Version == 6 }

// judge notes what of the transport header is right.
func (d *draft) judge() {
	if d.fault != header.NoFault {
		return
	}
	if at := lengthField(d.proto); at > 0 && len(d.l4) >= 8 {
		d.right.l4Length = int(binary.BigEndian.Uint16(d.l4[at:])) == len(d.l4)
	}
	d.right.l4Sum = d.sumIsRight()
	d.was = d.summed(d.l4)
}

// sumField returns the checksum in l4; empty where there is none.
func (d *draft) sumField(l4 []byte) []byte {
	at, size := header.SumField(uint8(d.proto), l4)
	return l4[at : at+size]
}

// rightSum returns the checksum that is right for l4 in a packet with the addresses of b, which begins with d's header.
func (d *draft) rightSum(b, l4 []byte) uint32 {
	src, dst := d.addrs(b)
	return header.TransportSum(uint8(d.proto), src, dst, l4)
}

// sumIsRight reports whether there is a checksum in l4, and a right one.
func (d *draft) sumIsRight() bool {
	field := d.sumField(d.l4)
	return d.fault == header.NoFault && len(field) > 0 && header.IsSum(field, d.rightSum(d.header, d.l4))
}

// summed changes as what is under the checksum does, of which l4 may be the first fragment.
func (d *draft) summed(l4 []byte) uint16 {
	at, size := header.SumField(uint8(d.proto), l4)
	if !header.CoversAddrs(uint8(d.proto)) {
		return header.Sum(l4[:at], l4[at+size:])
	}
	return header.Sum(l4[:at], l4[at+size:], d.src(), d.dst())
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
	at, size := d.view.SrcAt(), d.view.AddrSize()
	return b[at : at+size], b[at+size : at+2*size]
}

// fragmentHeader returns the fragment header of IPv6, which the change under way needs.
func (d *draft) fragmentHeader() []byte {
	for _, e := range d.ext {
		if e.proto == header.ProtoFragment {
			return e.bytes
		}
	}
	d.fail("the packet has no fragment header: make fragments first")
	return nil
}
