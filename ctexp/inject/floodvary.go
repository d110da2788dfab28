package inject

import (
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

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
