package inject_test

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/packettest"
)

// cook makes packet i as the comments of Recipe say.
func cook(r inject.Recipe, i uint64) packet.Packet {
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
		"nothing":     {Template: packet.SYN(web)},
		"TCP":         {Template: packet.SYN(web), Vary: vary},
		"UDP":         {Template: web.UDP([]byte("odd")), Vary: vary},
		"IPv6":        {Template: web6.UDP(nil), Vary: vary},
		"no checksum": {Template: packet.Packet(web.UDP(nil)).With(packet.Checksum(0)), Vary: vary},
		"fragment":    {Template: web.UDP(make([]byte, 64)).Fragment(24, 16, true), Vary: []inject.Vary{{Field: inject.VarySrc, Count: 300}}},
		"each sum":    {Template: packet.SYN(web), N: 55_000, Vary: []inject.Vary{{Field: inject.VarySrcPort, Count: 55_000}}}, // zero, too
	} {
		f.N = max(f.N, 5000)
		r, err := f.Recipe()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		i := uint64(0)
		for want := range f.Packets() {
			if got := cook(r, i); !slices.Equal(want, got) {
				t.Errorf("%s: packet %d (-want +got):\n%s", name, i, packet.Diff(want, got))
				break
			}
			i++
		}
	}
}

// sources are the sources of the packets that rules make of a template.
func sources(template packet.Packet, n int, rules ...inject.Vary) (all []string) {
	for p := range (inject.Flood{Template: template, N: n, Vary: rules}).Packets() {
		all = append(all, p.Tuple().Src.String())
	}
	return all
}

func TestRulesAreCombinedOrGoInStep(t *testing.T) {
	t.Parallel()
	port := inject.Vary{Field: inject.VarySrcPort, Count: 2, Stride: 5}
	addr := inject.Vary{Field: inject.VarySrc, Count: 2, Stride: 256}
	together := inject.Vary{Field: inject.VarySrc, InStep: true}
	third := inject.Vary{Field: inject.VaryDstPort, Count: 2}
	got := map[string][]string{
		"combined": sources(packet.SYN(web), 5, port, addr),
		"in step":  sources(packet.SYN(web), 3, port, together),
		"both":     sources(packet.SYN(web), 5, third, port, together),
		"IPv6":     sources(web6.UDP(nil), 3, addr, port),
	}
	want := map[string][]string{
		"combined": {"198.18.0.2:10000", "198.18.0.2:10005", "198.18.1.2:10000", "198.18.1.2:10005", "198.18.0.2:10000"},
		"in step":  {"198.18.0.2:10000", "198.18.0.3:10005", "198.18.0.2:10000"},
		"both":     {"198.18.0.2:10000", "198.18.0.2:10000", "198.18.0.3:10005", "198.18.0.3:10005", "198.18.0.2:10000"},
		"IPv6":     {"[2001:db8::2]:10000", "[2001:db8::102]:10000", "[2001:db8::2]:10005"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
}

// What is drawn is the same in each run, differs with the seed, and is spread over all values; rules that do not draw go
// on as if it were not there.
func TestRandomValuesFollowTheirSeed(t *testing.T) {
	t.Parallel()
	draw := func(seed uint64) []string {
		return sources(packet.SYN(web), 1000, inject.Vary{Field: inject.VarySrcPort, Count: 10, Random: true, Seed: seed},
			inject.Vary{Field: inject.VarySrc, Count: 2})
	}
	one, again, two := draw(1), draw(1), draw(2)
	if !slices.Equal(one, again) || slices.Equal(one, two) {
		t.Error("the seed does not decide")
	}
	n := map[string]int{}
	for i, s := range one {
		if n[s]++; netip.MustParseAddrPort(s).Addr().As4()[3] != byte(2+i%2) {
			t.Fatalf("packet %d is from %s", i, s)
		}
	}
	if len(n) != 20 || n[slices.MinFunc(one, func(a, b string) int { return n[a] - n[b] })] < 20 {
		t.Errorf("drawn 1000 times: %v", n)
	}
}

// Each kind of packet, with everything in it varied, is the same as one that was changed field by field.
func TestAFloodsPacketsHaveTheChecksumsOfOthers(t *testing.T) {
	t.Parallel()
	for _, f := range []packet.Flow{web, web6} {
		for _, k := range packettest.Kinds(f) {
			was := k.Packet.Tuple()
			rules := []inject.Vary{{Field: inject.VarySrc, Count: 2000, Stride: 6007}, {Field: inject.VaryDst, Stride: 2003, InStep: true}}
			change := func(i int) []packet.Change {
				return []packet.Change{packet.Src(plus(was.Src.Addr(), i*6007)), packet.Dst(plus(was.Dst.Addr(), i*2003))}
			}
			if was.Proto.HasPorts() {
				rules = append(rules, inject.Vary{Field: inject.VarySrcPort, InStep: true}, inject.Vary{Field: inject.VaryDstPort, InStep: true})
				addrs := change
				change = func(i int) []packet.Change {
					return append(addrs(i), packet.SrcPort(was.Src.Port()+uint16(i)), packet.DstPort(was.Dst.Port()+uint16(i)))
				}
			} else if was.ICMP.ID != 0 {
				rules = append(rules, inject.Vary{Field: inject.VaryID, InStep: true})
				addrs := change
				change = func(i int) []packet.Change { return append(addrs(i), packet.EchoID(was.ICMP.ID+uint16(i))) }
			}
			i := 0
			for got := range (inject.Flood{Template: k.Packet, N: 2000, Vary: rules}).Packets() {
				if i%17 == 0 || i < 3 {
					if diff := packet.Diff(k.Packet.With(change(i)...), got); diff != "" {
						t.Errorf("%s, packet %d:\n%s", k.Name, i, diff)
						break
					}
				}
				i++
			}
		}
	}
}

// The checksum of SCTP is a CRC, which is computed anew for each packet.
func TestAFloodOfSCTPHasRightChecksums(t *testing.T) {
	t.Parallel()
	init := web.SCTP(0, packet.SCTPInit(1, 1))
	for name, rules := range map[string][]inject.Vary{
		"nothing varies": nil,
		"one field":      {{Field: inject.VarySrcPort, Count: 3}},
		"two fields":     {{Field: inject.VarySrcPort, Count: 3}, {Field: inject.VarySrc, InStep: true}},
	} {
		for p := range (inject.Flood{Template: init, N: 3, Vary: rules}).Packets() {
			if !slices.Contains(p.Fields(), packet.Field{Name: "checksum", Value: "right"}) {
				t.Errorf("%s: the checksum of %v is wrong", name, p)
			}
		}
	}
}

// plus returns the address n behind a.
func plus(a netip.Addr, n int) netip.Addr {
	b := a.AsSlice()
	for i := len(b) - 1; n > 0; i-- {
		n += int(b[i])
		b[i] = byte(n)
		n >>= 8
	}
	next, _ := netip.AddrFromSlice(b)
	return next
}

// A datagram whose checksum comes out as zero says so with ones, and one without a checksum stays without.
func TestAFloodOfUDPHasEveryChecksum(t *testing.T) {
	t.Parallel()
	ones := 0
	for p := range (inject.Flood{Template: web6.UDP(nil), N: 55_000, Vary: []inject.Vary{{Field: inject.VarySrcPort, Count: 55_000}}}).Packets() {
		if p[46] == 0xff && p[47] == 0xff {
			ones++
		}
		if err := packettest.CheckSums(p); err != nil {
			t.Fatalf("%v: %v", p, err)
		}
	}
	if ones != 1 {
		t.Errorf("%d checksums of ones, want 1", ones)
	}
}

// An identifier can be varied where there is one: in a query of ICMP that is not cut.
func TestOnlyQueriesHaveAnIdentifier(t *testing.T) {
	t.Parallel()
	echo := packet.Echo(web.Src.Addr(), web.Dst.Addr(), 1, 1, nil)
	for name, c := range map[string]struct {
		template packet.Packet
		has      bool
	}{
		"echo":        {echo, true},
		"echo, cut":   {web.Raw(nf.ICMP, echo[20:24]), false},
		"nothing":     {web.Raw(nf.ICMP, nil), false},
		"error":       {packet.TimeExceeded(web.Dst.Addr(), packet.SYN(web)), false},
		"TCP":         {packet.SYN(web), false},
		"like a ping": {web.Raw(nf.TCP, echo[20:]), false},
	} {
		r, err := inject.Flood{Template: c.template, N: 1, Vary: []inject.Vary{{Field: inject.VaryID, Count: 2}}}.Recipe()
		if (err == nil) != c.has || (len(r.Fields) == 1) != c.has {
			t.Errorf("%s: fields %v, error %v; want an identifier: %v", name, r.Fields, err, c.has)
		}
	}
}

func TestPacketsOfAWrongFloodPanic(t *testing.T) {
	t.Parallel()
	got := fmt.Sprint(packettest.PanicOf(func() { (inject.Flood{Template: packet.SYN(web)}).Packets() }), "; ",
		packettest.PanicOf(func() { (inject.Flood{Template: packet.SYN(web), Duration: 1}).Packets() }))
	if want := "inject: flood: neither N nor Duration says when it ends; inject: flood: no N says how many"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Whatever the template is, flooding with it ends without a panic, and changes nothing but what it varies.
func FuzzFlood(f *testing.F) {
	for _, flow := range []packet.Flow{web, web6} {
		for _, k := range packettest.Kinds(flow) {
			f.Add([]byte(k.Packet), uint8(1), uint16(1000), uint16(3), false)
		}
	}
	f.Fuzz(func(t *testing.T, template []byte, field uint8, count, stride uint16, random bool) {
		l := &many{}
		rule := inject.Vary{Field: inject.VaryField(field), Count: int(count), Stride: int(stride), Random: random}
		got, err := inject.Flood{Template: template, N: 100, Vary: []inject.Vary{rule}}.Send(t.Context(), l)
		if err != nil {
			if got.Sent > 0 {
				t.Errorf("%v, %v", got, err)
			}
			return
		}
		was := packet.Packet(template).Tuple()
		for _, p := range l.written {
			if now := p.Tuple(); len(p) != len(template) || now.Proto != was.Proto {
				t.Fatalf("%x became %x", template, []byte(p))
			}
			if was.Proto == nf.TCP && packettest.IsWhole(template) && packettest.CheckSums(template) == nil && packettest.CheckSums(p) != nil {
				t.Fatalf("%x: %v", []byte(p), packettest.CheckSums(p))
			}
		}
	})
}
