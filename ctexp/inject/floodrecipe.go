package inject

import (
	"errors"

	"github.com/ctexp/go-ctexp/internal/header"
)

// Recipe is what the packets of a Flood are made by, for those who make them elsewhere than Send does: xdpflood has the
// kernel do it. Packet number i is the Template with each of Fields written over it, then the checksums.
type Recipe struct {
	Template Packet
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
