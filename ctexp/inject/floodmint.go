package inject

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/ctexp/go-ctexp/internal/header"
)

// mint makes the packets of a Flood, each from its number alone, so that it does not matter who makes which. It takes no
// memory.
type mint struct {
	template Packet
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
func newMint(template Packet, rules []Vary) (*mint, error) {
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
