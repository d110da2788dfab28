package inject

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/header"
)

// template makes the packets of a Flood. A packet depends only on its number, so that any goroutine can make any
// packet. Making one allocates nothing.
type template struct {
	Recipe
	rw   header.Rewriter
	sctp bool
}

// template checks f, including all values of all fields, and returns its template.
func (f Flood) template() (*template, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	rw, ok := header.NewRewriter(f.Template)
	if !ok {
		return nil, fmt.Errorf("the template of %d bytes is no packet: it has no whole IPv4 or IPv6 header", len(f.Template))
	}
	t := &template{
		Recipe: Recipe{Template: slices.Clone(f.Template)}, rw: rw,
		sctp: rw.Proto == header.ProtoSCTP && rw.SumSize == 4 && !rw.IsFragment(),
	}
	period := uint64(1) // of the previous rule
	next := uint64(1)   // of the next rule
	var before Vary
	for i, v := range f.Vary {
		if !v.InStep && !v.Random {
			period = next
		}
		v, err := v.inStepWith(before)
		var field RecipeField
		if err == nil {
			field, err = t.field(v, period)
		}
		if err != nil {
			return nil, fmt.Errorf("vary[%d] (%v): %w", i, v.Field, err)
		}
		if !v.InStep && !v.Random {
			over, n := bits.Mul64(period, field.Count)
			if next = n; over != 0 {
				next = 1<<64 - 1 // never
			}
		}
		t.Fields, before = append(t.Fields, field), v
	}
	if len(t.Fields) > 0 {
		t.sums()
	}
	return t, nil
}

// field returns the next field. It varies as v says and keeps each value for a number of packets.
func (t *template) field(v Vary, period uint64) (RecipeField, error) {
	at, size, err := v.Field.find(t.Template, &t.rw)
	if err != nil {
		return RecipeField{}, err
	}
	for _, f := range t.Fields {
		if f.At == at {
			return RecipeField{}, errors.New("another rule has it already")
		}
	}
	isAddr := v.Field == VarySrc || v.Field == VaryDst
	f := RecipeField{
		At: at, Size: size, Stride: uint64(max(1, v.Stride)), Count: uint64(v.Count), Period: period,
		InHeader: isAddr && t.rw.Version == 4, InTransport: !isAddr || t.rw.SumCoversAddrs,
	}
	if v.Random {
		f.Random, f.Seed = true, mix(v.Seed+uint64(len(t.Fields))) // so that rules with the same seed draw different numbers
	}
	b := t.Template[at : at+size]
	switch size {
	case 2:
		f.First[1] = uint64(binary.BigEndian.Uint16(b))
	case 4:
		f.First[1] = uint64(binary.BigEndian.Uint32(b))
	default:
		f.First = [2]uint64{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
	}
	return f, v.check(f.First, size)
}

// sums sets the initial values of the checksums: the complements of the template's checksums, plus the complements of
// the words that vary. RFC 1624, equation 3, then adds the new words.
func (t *template) sums() {
	p := t.Template
	if t.rw.Version == 4 {
		t.Header = RecipeSum{At: header.HeaderSumAt, Base: uint32(^binary.BigEndian.Uint16(p[header.HeaderSumAt:]))}
	}
	if t.rw.SumSize == 2 {
		// A checksum of zero may mean that there is none, and then none is computed.
		if was := binary.BigEndian.Uint16(p[t.rw.SumAt:]); was != 0 || !t.rw.SumOptional {
			t.Transport = RecipeSum{At: t.rw.SumAt, Base: uint32(^was), NoZero: header.NonZero(t.rw.Proto, 0) != 0}
		}
	}
	for _, f := range t.Fields {
		old := uint32(^header.Sum(p[f.At : f.At+f.Size]))
		if f.InHeader && t.Header.At > 0 {
			t.Header.Base += old
		}
		if f.InTransport && t.Transport.At > 0 {
			t.Transport.Base += old
		}
	}
}

// write writes packet number i to p, which has the length of the template.
func (t *template) write(p []byte, i uint64) {
	copy(p, t.Template)
	headerSum, transportSum := t.Header.Base, t.Transport.Base
	for k := range t.Fields {
		f := &t.Fields[k]
		sum := f.write(p, i)
		if f.InHeader {
			headerSum += sum
		}
		if f.InTransport {
			transportSum += sum
		}
	}
	if t.Header.At > 0 {
		binary.BigEndian.PutUint16(p[t.Header.At:], header.Adjust(0xffff, headerSum))
	}
	if t.Transport.At > 0 {
		binary.BigEndian.PutUint16(p[t.Transport.At:], header.NonZero(t.rw.Proto, header.Adjust(0xffff, transportSum)))
	} else if t.sctp && len(t.Fields) > 0 {
		header.SetTransportSum(t.rw.Proto, nil, t.rw.Body(p))
	}
}

// write writes the field for packet i and returns the sum of its words.
func (f *RecipeField) write(p []byte, i uint64) uint32 {
	index := i / f.Period % f.Count
	if f.Random {
		index, _ = bits.Mul64(mix(f.Seed+i), f.Count)
	}
	lo, carry := bits.Add64(f.First[1], index*f.Stride, 0)
	b := p[f.At : f.At+f.Size]
	switch f.Size {
	case 2:
		binary.BigEndian.PutUint16(b, uint16(lo))
		return uint32(lo)
	case 4:
		binary.BigEndian.PutUint32(b, uint32(lo))
		return uint32(lo)>>16 + uint32(lo)&0xffff
	}
	hi := f.First[0] + carry
	binary.BigEndian.PutUint64(b, hi)
	binary.BigEndian.PutUint64(b[8:], lo)
	return words(hi) + words(lo)
}

// words returns the sum of the four 16-bit words of v.
func words(v uint64) uint32 { return uint32(v>>48 + v>>32&0xffff + v>>16&0xffff + v&0xffff) }

// mix is the finalizer of SplitMix64. It turns consecutive numbers into pseudo-random ones.
func mix(v uint64) uint64 {
	v += 0x9e3779b97f4a7c15
	v = (v ^ v>>30) * 0xbf58476d1ce4e5b9
	v = (v ^ v>>27) * 0x94d049bb133111eb
	return v ^ v>>31
}

// Recipe describes how to make the packets of a Flood, for other code than Send: xdpflood makes them in the kernel.
// Packet number i is the Template with each of the Fields written over it, and then the checksums.
type Recipe struct {
	// Template is a copy of the Flood's template.
	Template packet.Packet
	// Fields are the fields that vary, in the order of the Flood's rules.
	Fields []RecipeField
	// Header is the checksum of the IPv4 header, Transport that of the transport header.
	Header, Transport RecipeSum
}

// RecipeField is a field that varies. Its value in packet i is First + index*Stride, where index is i/Period%Count.
type RecipeField struct {
	// At and Size are the field's offset and length: 2, 4 or 16 bytes, in network byte order.
	At, Size int
	// First is the value in the template. For 16 bytes it has the upper and the lower half; otherwise only the second
	// number is used.
	First [2]uint64
	// Stride is the difference of successive values, Count the number of values, and Period the number of packets that
	// have the same value.
	Stride, Count, Period uint64
	// Random reports that index is instead the upper half of Count times m(Seed+i), where m is the finalizer of
	// SplitMix64.
	Random bool
	// Seed is the seed of the rule, mixed with the rule's position.
	Seed uint64
	// InHeader and InTransport report which checksums cover the field.
	InHeader, InTransport bool
}

// RecipeSum is a 16-bit checksum: the complement of the ones' complement sum of Base and the words of all fields that
// it covers. The zero RecipeSum means that no checksum is written.
type RecipeSum struct {
	// At is the offset of the checksum.
	At int
	// Base is the initial value of the sum.
	Base uint32
	// NoZero reports that zero is written as all ones.
	NoZero bool
}

// Recipe returns how to make the packets. It fails for the same Floods as Send, and for SCTP with fields that vary,
// because the checksum of SCTP is a CRC.
func (f Flood) Recipe() (Recipe, error) {
	t, err := f.template()
	if err == nil && t.sctp && len(t.Fields) > 0 {
		err = errors.New("the checksum of SCTP, which is no sum")
	}
	if err != nil {
		return Recipe{}, err
	}
	return t.Recipe, nil
}

// Vary makes one field of a Flood's packets take Count values, Stride apart, beginning with the template's. The field
// of the first rule changes with each packet, that of the next rule each time when the one before it has had all its
// values, and so on: all combinations occur, and then they repeat.
type Vary struct {
	// Field is the field that varies.
	Field VaryField
	// Count is the number of values.
	Count int
	// Stride is the difference of successive values; zero means 1.
	Stride int
	// InStep makes the field change together with that of the previous rule. Count may be zero: it is the same.
	InStep bool
	// Random draws a value for each packet instead of using the values in order. Some values may occur twice and others
	// not at all. Runs with the same Seed draw the same values.
	Random bool
	// Seed is the seed of the random numbers.
	Seed uint64
}

// VaryField is a field that a Flood may vary.
type VaryField uint8

// The fields: addresses, ports of protocols that have ports, and the identifier of ICMP queries such as echo requests.
const (
	VarySrc VaryField = 1 + iota
	VaryDst
	VarySrcPort
	VaryDstPort
	VaryID
)

// String returns "source address" and the like.
func (f VaryField) String() string {
	names := [...]string{"no field", "source address", "destination address", "source port", "destination port", "identifier"}
	if int(f) < len(names) {
		return names[f]
	}
	return fmt.Sprintf("field %d", uint8(f))
}

// find returns the offset and the size of the field in a packet.
func (f VaryField) find(p []byte, pl *header.Rewriter) (at, size int, err error) {
	switch f {
	case VarySrc:
		return pl.SrcAt(), pl.AddrSize(), nil
	case VaryDst:
		return pl.DstAt(), pl.AddrSize(), nil
	case VarySrcPort, VaryDstPort:
		if !pl.HasPorts {
			return 0, 0, fmt.Errorf("the template, %v, has no ports", nf.Proto(pl.Proto))
		}
		return pl.Transport + 2*int(f-VarySrcPort), 2, nil
	case VaryID:
		if l4 := pl.Body(p); len(l4) < 8 || !nf.Proto(pl.Proto).IsICMP() || !header.IsQuery(uint8(nf.Proto(pl.Proto)), l4[0]) {
			return 0, 0, errors.New("the template is no query of ICMP")
		}
		return pl.Transport + 4, 2, nil
	}
	return 0, 0, fmt.Errorf("%v: want one from VarySrc to VaryID", f)
}

// inStepWith returns the rule with the Count of the previous rule, if it is in step with it.
func (v Vary) inStepWith(before Vary) (Vary, error) {
	switch {
	case !v.InStep:
		return v, nil
	case before.Field == 0:
		return v, errors.New("it is in step with the rule before it, and there is none")
	case v.Random || before.Random:
		return v, errors.New("what is drawn at random is in step with nothing")
	case v.Count == 0:
		v.Count = before.Count
	case v.Count != before.Count:
		return v, fmt.Errorf("count %d, and %d in the rule that it is in step with", v.Count, before.Count)
	}
	return v, nil
}

// check returns an error if the last value does not fit into the field.
func (v Vary) check(first [2]uint64, size int) error {
	switch {
	case v.Count < 1:
		return fmt.Errorf("count %d: want 1 or more", v.Count)
	case v.Stride < 0:
		return fmt.Errorf("negative stride %d", v.Stride)
	}
	over, distance := bits.Mul64(uint64(v.Count-1), uint64(max(1, v.Stride)))
	lo, carry := bits.Add64(first[1], distance, 0)
	hi, carry := bits.Add64(first[0], over, carry)
	limit := [2]uint64{math.MaxUint64, math.MaxUint64}
	if size < 16 {
		limit = [2]uint64{0, 1<<(8*size) - 1}
	}
	if carry != 0 || hi > limit[0] || hi == limit[0] && lo > limit[1] || over != 0 {
		return fmt.Errorf("%d values, %d apart, from the template's on: the last is beyond what there is", v.Count, max(1, v.Stride))
	}
	return nil
}
