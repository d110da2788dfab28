package packet

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
	if v.End < len(p) && !d.sumIsRight() {
		d.take(p, v)
		d.right.length = d.sumIsRight() // else it cannot be told
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

// rightSum returns the checksum that is right for l4.
func (d *draft) rightSum(l4 []byte) uint32 {
	return header.TransportSum(uint8(d.proto), d.view.AddrBytes(d.header), l4)
}

// sumIsRight reports whether there is a checksum in l4, and a right one.
func (d *draft) sumIsRight() bool {
	field := d.sumField(d.l4)
	return d.fault == header.NoFault && len(field) > 0 && header.IsSum(field, d.rightSum(d.l4))
}

// summed changes as what is under the checksum does, of which l4 may be the first fragment.
func (d *draft) summed(l4 []byte) uint16 {
	at, size := header.SumField(uint8(d.proto), l4)
	if !header.CoversAddrs(uint8(d.proto)) {
		return header.Sum(l4[:at], l4[at+size:])
	}
	return header.Sum(l4[:at], l4[at+size:], d.view.AddrBytes(d.header))
}

// lengthField returns where the header has the length of the datagram, or of what its checksum covers; 0: nowhere.
func lengthField(p nf.Proto) int {
	if p == nf.UDP || p == nf.UDPLite {
		return 4
	}
	return 0
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

// assemble puts the draft together: lengths that were right are made right, then comes what is to be wrong, then the
// checksums that were right, and last those that are to be wrong.
func (d *draft) assemble() Packet {
	d.link()
	if at := lengthField(d.proto); d.right.l4Length {
		if len(d.l4) > MaxLength {
			panic(fmt.Sprintf("packet: With: a datagram of %d bytes is longer than %d", len(d.l4), MaxLength))
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
	if n < 0 || n > MaxLength {
		panic(fmt.Sprintf("packet: With: length %d does not fit into the header", n))
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
		if sum := d.rightSum(l4); !header.IsSum(field, sum) {
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
		panic(fmt.Sprintf("packet: Fragments: an MTU of %d leaves no room behind the headers of %v", mtu, p))
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
		panic(fmt.Sprintf("packet: Fragment: bytes %d to %d of %d", offset, offset+length, len(body)))
	case offset%8 != 0:
		panic(fmt.Sprintf("packet: Fragment: offset %d is no multiple of 8", offset))
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
		panic(fmt.Sprintf("packet: Fragment: offset %d is beyond %d", offset, maxOffset))
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
		panic(fmt.Sprintf("packet: %s: %v", name, err))
	}
	d.name = name
	return d
}
