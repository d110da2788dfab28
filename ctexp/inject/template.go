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

// template makes the packets of a Flood, each from its number alone, so that any goroutine may make any. It takes no memory.
type template struct {
	Recipe
	rw   header.Rewriter
	sctp bool
}

// template checks f, with all values of all fields, and returns its template.
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
	period := uint64(1) // of the rule before
	next := uint64(1)   // of the rule behind it
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

// field returns the next field, which varies as v says and keeps each of its values for so many packets.
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
		f.Random, f.Seed = true, mix(v.Seed+uint64(len(t.Fields))) // rules with the same seed draw other numbers
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

// sums sets what the checksums begin with: the complements of the template's, plus those of the words that vary. To that RFC
// 1624, equation 3, adds the new words.
func (t *template) sums() {
	p := t.Template
	if t.rw.Version == 4 {
		t.Header = RecipeSum{At: header.HeaderSumAt, Base: uint32(^binary.BigEndian.Uint16(p[header.HeaderSumAt:]))}
	}
	if t.rw.SumSize == 2 {
		// A checksum of zero may say that there is none, and then there will be none.
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

// write writes packet number i to p, which is as long as the template.
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

// write writes the field of packet i and returns the sum of its words.
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

// words is the sum of the four 16-bit words of v.
func words(v uint64) uint32 { return uint32(v>>48 + v>>32&0xffff + v>>16&0xffff + v&0xffff) }

// mix is the finalizer of SplitMix64: it makes numbers of a row look as if they were drawn.
func mix(v uint64) uint64 {
	v += 0x9e3779b97f4a7c15
	v = (v ^ v>>30) * 0xbf58476d1ce4e5b9
	v = (v ^ v>>27) * 0x94d049bb133111eb
	return v ^ v>>31
}

// Recipe is how the packets of a Flood are made, for code that makes them elsewhere than Send does: xdpflood has the
// kernel do it. Packet number i is the Template with each of Fields written over it, then the checksums.
type Recipe struct {
	// Template is a copy of the Flood's.
	Template packet.Packet
	// Fields are what varies, in the order of the Flood's rules.
	Fields []RecipeField
	// Header is the checksum of the IPv4 header, Transport that of the transport header.
	Header, Transport RecipeSum
}

// RecipeField is a field that varies. Its value in packet i is First + index*Stride, where index is i/Period%Count.
type RecipeField struct {
	// At and Size are its offset and its length, 2, 4 or 16 bytes, in network order.
	At, Size int
	// First is its value in the template: the upper half of 16 bytes, then the lower one or all.
	First [2]uint64
	// Stride is how far values are apart, Count how many there are, and Period for how many packets each of them stays.
	Stride, Count, Period uint64
	// Random: instead, index is the upper half of Count times m(Seed+i), where m is the finalizer of SplitMix64.
	Random bool
	// Seed is that of the rule, mixed with the place of the rule.
	Seed uint64
	// InHeader and InTransport say which of the checksums covers the field.
	InHeader, InTransport bool
}

// RecipeSum is a checksum of 16 bits: the complement of the sum of Base and the words of all fields that it covers, in ones'
// complement. The zero RecipeSum says that there is none to write.
type RecipeSum struct {
	// At is its offset.
	At int
	// Base is what the sum begins with.
	Base uint32
	// NoZero says that zero is written as all ones.
	NoZero bool
}

// Recipe returns how the packets are made. What is wrong with the Flood is an error, as it is for Send, and so is SCTP
// with fields that vary, whose checksum is no sum.
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

// Vary has one field of the packets of a Flood take several values: Count of them, Stride apart, from the template's own
// upwards. The first rule changes its field with each packet; the next one its own whenever that has gone round, and so on: all
// combinations come, and then come again.
type Vary struct {
	// Field is the field that varies.
	Field VaryField
	// Count is how many values there are.
	Count int
	// Stride is how far they are apart; zero: 1.
	Stride int
	// InStep has the field change together with that of the rule before it. The Count may be left out: it is the same.
	InStep bool
	// Random draws a value for each packet, the same one in each run with the same Seed, instead of going through them in
	// order. Values may come twice and others not at all.
	Random bool
	// Seed is what the random numbers depend on.
	Seed uint64
}

// VaryField is a field that a Flood may vary.
type VaryField uint8

// The fields: addresses, ports of protocols that have them, and the identifier of an echo request or another query of ICMP.
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

// find returns where a packet has the field, and its size.
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

// inStepWith returns the rule with the count of the rule before it, if it is in step with that.
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

// check looks whether the last of the values is one, too.
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
