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

// mint makes the packets of a Flood, each from its number alone, so that it does not matter who makes which. It takes no
// memory.
type mint struct {
	template packet.Packet
	places   header.Rewriter
	fields   []minted
	// The complements of the template's checksums, plus those of the words that vary: what RFC 1624, equation 3, adds the new
	// words to.
	header, transport uint32
	sctp              bool
}

// minted is a field that varies.
type minted struct {
	at, size    int
	first       [2]uint64
	stride      uint64
	count       uint64
	period      uint64 // it changes every so many packets
	random      bool
	seed        uint64
	inHeader    bool // the checksum of the IPv4 header covers it
	inTransport bool // that of the transport header does
}

// newMint looks whether all values of all fields are there.
func newMint(template packet.Packet, rules []Vary) (*mint, error) {
	pl, ok := header.NewRewriter(template)
	if !ok {
		return nil, fmt.Errorf("the template of %d bytes is no packet: it has no whole IPv4 or IPv6 header", len(template))
	}
	m := &mint{template: slices.Clone(template), places: pl, sctp: pl.Proto == header.ProtoSCTP && pl.SumSize == 4 && !pl.IsFragment()}
	period := uint64(1) // of the rule before
	next := uint64(1)   // of the rule behind it
	var before Vary
	for i, v := range rules {
		if !v.InStep && !v.Random {
			period = next
		}
		v, err := v.inStepWith(before)
		f := minted{}
		if err == nil {
			f, err = m.field(v, period)
		}
		if err != nil {
			return nil, fmt.Errorf("vary[%d] (%v): %w", i, v.Field, err)
		}
		if !v.InStep && !v.Random {
			over, n := bits.Mul64(period, f.count)
			if next = n; over != 0 {
				next = 1<<64 - 1 // never
			}
		}
		m.fields, before = append(m.fields, f), v
	}
	m.takeAway()
	return m, nil
}

func (m *mint) field(v Vary, period uint64) (minted, error) {
	at, size, err := v.Field.find(m.template, &m.places)
	if err != nil {
		return minted{}, err
	}
	for _, f := range m.fields {
		if f.at == at {
			return minted{}, errors.New("another rule has it already")
		}
	}
	isAddr := v.Field == VarySrc || v.Field == VaryDst
	f := minted{
		at: at, size: size, stride: uint64(max(1, v.Stride)), count: uint64(v.Count), period: period, random: v.Random, seed: v.Seed,
		inHeader: isAddr && m.places.Version == 4, inTransport: !isAddr || m.places.SumCoversAddrs,
	}
	b := m.template[at : at+size]
	switch size {
	case 2:
		f.first[1] = uint64(binary.BigEndian.Uint16(b))
	case 4:
		f.first[1] = uint64(binary.BigEndian.Uint32(b))
	default:
		f.first = [2]uint64{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
	}
	return f, v.check(f.first, size)
}

// takeAway takes what varies out of the checksums.
func (m *mint) takeAway() {
	pl, p := &m.places, m.template
	if pl.Version == 4 {
		m.header = uint32(^binary.BigEndian.Uint16(p[header.HeaderSumAt:]))
	}
	if pl.SumSize == 2 {
		m.transport = uint32(^binary.BigEndian.Uint16(p[pl.SumAt:]))
		if pl.SumOptional && m.transport == 0xffff { // there is none, and there will be none
			pl.SumSize = 0
		}
	}
	for _, f := range m.fields {
		old := uint32(^header.Sum(p[f.at : f.at+f.size]))
		if f.inHeader {
			m.header += old
		}
		if f.inTransport {
			m.transport += old
		}
	}
}

// strike writes packet number i to p, which is as long as the template.
func (m *mint) strike(p []byte, i uint64) {
	copy(p, m.template)
	headerSum, transportSum := m.header, m.transport
	for k := range m.fields {
		f := &m.fields[k]
		sum := f.write(p, i, uint64(k))
		if f.inHeader {
			headerSum += sum
		}
		if f.inTransport {
			transportSum += sum
		}
	}
	if len(m.fields) == 0 {
		return
	}
	pl := &m.places
	if pl.Version == 4 {
		binary.BigEndian.PutUint16(p[header.HeaderSumAt:], header.Adjust(0xffff, headerSum))
	}
	switch {
	case m.sctp:
		header.SetTransportSum(pl.Proto, nil, pl.Body(p))
	case pl.SumSize == 2:
		binary.BigEndian.PutUint16(p[pl.SumAt:], header.NonZero(pl.Proto, header.Adjust(0xffff, transportSum)))
	}
}

// write writes the field of packet i and returns the sum of its words. k tells the rules apart that have one seed.
func (f *minted) write(p []byte, i, k uint64) uint32 {
	index := i / f.period % f.count
	if f.random {
		index, _ = bits.Mul64(mix(mix(f.seed+k)+i), f.count)
	}
	lo, carry := bits.Add64(f.first[1], index*f.stride, 0)
	b := p[f.at : f.at+f.size]
	switch f.size {
	case 2:
		binary.BigEndian.PutUint16(b, uint16(lo))
		return uint32(lo)
	case 4:
		binary.BigEndian.PutUint32(b, uint32(lo))
		return uint32(lo)>>16 + uint32(lo)&0xffff
	}
	hi := f.first[0] + carry
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

// Recipe is what the packets of a Flood are made by, for those who make them elsewhere than Send does: xdpflood has the
// kernel do it. Packet number i is the Template with each of Fields written over it, then the checksums.
type Recipe struct {
	Template packet.Packet
	Fields   []RecipeField
	// Header is the checksum of the IPv4 header, Transport that of the transport header.
	Header, Transport RecipeSum
}

// RecipeField is a field that varies: Size bytes, 2, 4 or 16, at offset At, in network order. Its value in packet i is
// First + index*Stride, where index is i/Period%Count.
type RecipeField struct {
	At, Size              int
	First                 [2]uint64 // the upper half of 16 bytes, then the lower one or all
	Stride, Count, Period uint64
	// Random: instead, index is the upper half of Count times m(Seed+i), where m is the finalizer of SplitMix64.
	Random bool
	Seed   uint64
	// Which of the checksums covers the field.
	InHeader, InTransport bool
}

// RecipeSum is a checksum of 16 bits at offset At: the complement of the sum of Base and the words of all fields that it covers,
// in ones' complement. The zero RecipeSum says that there is none to write.
type RecipeSum struct {
	At     int
	Base   uint32
	NoZero bool // zero is written as all ones
}

// Recipe returns what the packets are made by. What is wrong with the Flood is an error, as it is for Send, and so is SCTP
// with fields that vary, whose checksum is no sum.
func (f Flood) Recipe() (Recipe, error) {
	m, err := newMint(f.Template, f.Vary)
	if err == nil {
		err = f.check()
	}
	if err == nil && m.sctp && len(m.fields) > 0 {
		err = errors.New("the checksum of SCTP, which is no sum")
	}
	if err != nil {
		return Recipe{}, err
	}
	r := Recipe{Template: m.template}
	for k, v := range m.fields {
		f := RecipeField{
			At: v.at, Size: v.size, First: v.first, Stride: v.stride, Count: v.count, Period: v.period,
			InHeader: v.inHeader, InTransport: v.inTransport,
		}
		if v.random {
			f.Random, f.Seed = true, mix(v.seed+uint64(k))
		}
		r.Fields = append(r.Fields, f)
	}
	if len(m.fields) == 0 {
		return r, nil
	}
	pl := &m.places
	if pl.Version == 4 {
		r.Header = RecipeSum{At: header.HeaderSumAt, Base: m.header}
	}
	if pl.SumSize == 2 {
		r.Transport = RecipeSum{At: pl.SumAt, Base: m.transport, NoZero: header.NonZero(pl.Proto, 0) != 0}
	}
	return r, nil
}

// Vary has one field of the packets of a Flood take several values: Count of them, Stride apart, from the template's own
// upwards. The first rule changes its field with each packet; the next one its own whenever that has gone round, and so on: all
// combinations come, and then come again.
type Vary struct {
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
	Seed   uint64
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
