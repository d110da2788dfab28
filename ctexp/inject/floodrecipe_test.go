package inject_test

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/inject"
)

// cook makes packet i as the comments of Recipe say.
func cook(r inject.Recipe, i uint64) inject.Packet {
	p := slices.Clone(r.Template)
	header, transport := uint64(r.Header.Base), uint64(r.Transport.Base)
	for _, f := range r.Fields {
		index := i / max(1, f.Period) % f.Count
		if f.Random {
			m := f.Seed + i + 0x9e3779b97f4a7c15
			m = (m ^ m>>30) * 0xbf58476d1ce4e5b9
			m = (m ^ m>>27) * 0x94d049bb133111eb
			index, _ = bits.Mul64(f.Count, m^m>>31)
		}
		lo, carry := bits.Add64(f.First[1], index*f.Stride, 0)
		value := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, f.First[0]+carry), lo)[16-f.Size:]
		copy(p[f.At:], value)
		for ; len(value) > 0; value = value[2:] {
			if f.InHeader {
				header += uint64(binary.BigEndian.Uint16(value))
			}
			if f.InTransport {
				transport += uint64(binary.BigEndian.Uint16(value))
			}
		}
	}
	put := func(s inject.RecipeSum, sum uint64) {
		if s == (inject.RecipeSum{}) {
			return
		}
		for sum > 0xffff {
			sum = sum>>16 + sum&0xffff
		}
		if sum = ^sum & 0xffff; sum == 0 && s.NoZero {
			sum = 0xffff
		}
		binary.BigEndian.PutUint16(p[s.At:], uint16(sum))
	}
	put(r.Header, header)
	put(r.Transport, transport)
	return p
}

// Whoever follows the recipe makes the packets of the Flood.
func TestARecipeMakesTheSamePackets(t *testing.T) {
	t.Parallel()
	vary := []inject.Vary{
		{Field: inject.VarySrcPort, Count: 100, Stride: 7}, {Field: inject.VarySrc, InStep: true},
		{Field: inject.VaryDst, Count: 3}, {Field: inject.VaryDstPort, Count: 50_000, Random: true, Seed: 3},
	}
	for name, f := range map[string]inject.Flood{
		"nothing":     {Template: inject.SYN(web)},
		"TCP":         {Template: inject.SYN(web), Vary: vary},
		"UDP":         {Template: web.UDP([]byte("odd")), Vary: vary},
		"IPv6":        {Template: web6.UDP(nil), Vary: vary},
		"no checksum": {Template: inject.Packet(web.UDP(nil)).With(inject.Checksum(0)), Vary: vary},
		"fragment":    {Template: web.UDP(make([]byte, 64)).Fragment(24, 16, true), Vary: []inject.Vary{{Field: inject.VarySrc, Count: 300}}},
	} {
		f.N = 5000
		r, err := f.Recipe()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		i := uint64(0)
		for want := range f.Packets() {
			if got := cook(r, i); !slices.Equal(want, got) {
				t.Errorf("%s: packet %d (-want +got):\n%s", name, i, inject.Diff(want, got))
				break
			}
			i++
		}
	}
}
