package packet

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// draft is a packet divided into its parts, so that it can be changed and assembled again.
type draft struct {
	view    header.View // of the original packet
	header  []byte      // the IPv4 header with its options, or the 40 bytes of IPv6
	ext     []extension // of IPv6
	l4      []byte      // from the transport header to the end according to the network header
	trailer []byte      // the bytes after that

	proto nf.Proto
	fault header.Fault // why l4 does not begin with a transport header
	name  string       // of the current change, for panics
	part  bool         // the packet is a fragment, so that l4 is incomplete

	right struct{ length, headerSum, l4Length, l4Sum bool } // what was right in the original packet
	was   uint16                                            // summed of the original packet
	wrong []func(Packet)                                    // set lengths and other fields to wrong values, before the checksums
	sums  []func(Packet)                                    // set checksums to wrong values
	cut   int                                               // final length of the packet; -1: no limit
}

// extension is one extension header of IPv6. Its first byte, the next header, is set by link.
type extension struct {
	proto nf.Proto
	bytes []byte
}

// takeApart copies p into a draft. It fails if there is no complete IPv4 or IPv6 header. An IPv4 header with a wrong header
// length, which the kernel drops, may be changed; it is taken to have 20 bytes.
func takeApart(p Packet) (*draft, error) {
	v := header.Parse(p)
	switch v.Fault {
	case header.CutHeader:
		return nil, fmt.Errorf("the header is truncated after %d bytes", len(p))
	case header.BadVersion:
		return nil, fmt.Errorf("the IP version is %d", header.Version(p))
	case header.Empty:
		return nil, fmt.Errorf("%v", v.Fault)
	}
	p = slices.Clone(p)
	d := &draft{cut: -1}
	d.right.length = v.Length == len(p)
	d.right.headerSum = v.Version == 4 && header.IsHeaderSumRight(p)
	d.take(p, header.ParseAll(p))
	// A right checksum over all bytes shows that only the length is wrong.
	if v.End < len(p) && !d.sumIsRight() {
		d.take(p, v)
		d.right.length = d.sumIsRight() // else it is not known
	}
	d.checkTransport()
	return d, nil
}

// mustTakeApart is takeApart for the method of that name. It panics instead of returning an error.
func mustTakeApart(name string, p Packet) *draft {
	d, err := takeApart(p)
	if err != nil {
		panic(fmt.Sprintf("packet: %s: %v", name, err))
	}
	d.name = name
	return d
}

// take divides p according to v.
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

// checkTransport records whether length and checksum of the transport header are right.
func (d *draft) checkTransport() {
	if d.fault != header.NoFault {
		return
	}
	if at := lengthField(d.proto); at > 0 && len(d.l4) >= 8 {
		d.right.l4Length = int(binary.BigEndian.Uint16(d.l4[at:])) == len(d.l4)
	}
	d.right.l4Sum = d.sumIsRight()
	d.was = d.summed(d.l4)
}

// sumField returns the checksum field in l4; empty if there is none.
func (d *draft) sumField(l4 []byte) []byte {
	at, size := header.SumField(uint8(d.proto), l4)
	return l4[at : at+size]
}

// headerLength returns the length of the transport header in l4 according to its own length field, at least the fixed part; 0
// if the protocol is unknown.
func (d *draft) headerLength() int {
	n := 0
	switch d.proto {
	case nf.TCP:
		n = 20
		if len(d.l4) >= 20 {
			n = max(20, int(d.l4[12]>>4)*4)
		}
	case nf.UDP, nf.UDPLite, nf.ICMP, nf.ICMPv6, header.ProtoIGMP:
		n = 8
	case nf.SCTP:
		n = 12
	case nf.DCCP:
		n = 12
		if len(d.l4) >= 12 {
			n = max(12, int(d.l4[4])*4)
		}
	case nf.GRE:
		n = max(4, header.ParseGRE(d.l4).Length)
	}
	return n
}

// rightSum returns the checksum that is right for l4.
func (d *draft) rightSum(l4 []byte) uint32 {
	return header.TransportSum(uint8(d.proto), d.view.AddrBytes(d.header), l4)
}

// sumIsRight reports whether l4 has a checksum and it is right.
func (d *draft) sumIsRight() bool {
	field := d.sumField(d.l4)
	return d.fault == header.NoFault && len(field) > 0 && header.IsSum(field, d.rightSum(d.l4))
}

// summed returns the sum over what the checksum covers, as far as it is in l4, which may be a first fragment.
func (d *draft) summed(l4 []byte) uint16 {
	at, size := header.SumField(uint8(d.proto), l4)
	if !header.CoversAddrs(uint8(d.proto)) {
		return header.Sum(l4[:at], l4[at+size:])
	}
	return header.Sum(l4[:at], l4[at+size:], d.view.AddrBytes(d.header))
}

// lengthField returns the offset of the length of the datagram, or of the checksum's coverage; 0 if there is none.
func lengthField(p nf.Proto) int {
	if p == nf.UDP || p == nf.UDPLite {
		return 4
	}
	return 0
}

// fragmentHeader returns the IPv6 fragment header. It panics if there is none.
func (d *draft) fragmentHeader() []byte {
	for _, e := range d.ext {
		if e.proto == header.ProtoFragment {
			return e.bytes
		}
	}
	d.fail("the packet has no fragment header: use Fragment first")
	return nil
}

// assemble returns the changed packet. It sets the lengths that were right, then the fields that were set to wrong values,
// then the checksums that were right, and last the checksums that were set to wrong values.
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

// protoAt returns the offset of the field with the protocol after the network layer.
func (d *draft) protoAt() int {
	switch {
	case !d.v6():
		return 9
	case len(d.ext) == 0:
		return 6
	}
	return d.start() - len(d.ext[len(d.ext)-1].bytes)
}

// link writes the protocol number of the following header into each header.
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

// setSums corrects the checksums that were right in the original.
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

// update changes the checksum of a first fragment by the difference (RFC 1624). Whether it is right is unknown without the
// other fragments.
func (d *draft) update(field []byte, now uint16) {
	sum := uint16(header.GetSum(field))
	none := d.proto == nf.UDP && sum == 0
	if now == d.was || none {
		return
	}
	header.PutSum(field, uint32(header.NonZero(uint8(d.proto), header.Adjust(sum, header.Delta(d.was, now)))))
}
