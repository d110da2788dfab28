package header_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/header"
)

var (
	web  = packet.Flow{Src: netip.MustParseAddrPort("198.18.0.2:10000"), Dst: netip.MustParseAddrPort("192.0.2.1:80")}
	web6 = packet.Flow{Src: netip.MustParseAddrPort("[2001:db8::2]:10000"), Dst: netip.MustParseAddrPort("[2001:db8::1]:80")}
)

// set returns a copy of b with the bytes from offset at on replaced.
func set(b []byte, at int, to ...byte) []byte {
	b = slices.Clone(b)
	copy(b[at:], to)
	return b
}

func TestViewLocatesHeaders(t *testing.T) {
	t.Parallel()
	four, six := []byte(web.UDP([]byte("hello"))), []byte(web6.UDP([]byte("hello")))
	id := uint32(binary.BigEndian.Uint16(four[4:]))
	view4 := header.View{Version: 4, Proto: 17, Header: 20, Transport: 20, End: 33, Length: 33, FragID: id}
	view6 := header.View{Version: 6, Proto: 17, Header: 40, Transport: 40, End: 53, Length: 53}
	with := func(v header.View, change func(*header.View)) header.View {
		change(&v)
		return v
	}
	options := []byte(web.UDP([]byte("hello")).With(packet.IPOptions(packet.RouterAlert())))
	extended := []byte(web6.UDP([]byte("hello")).With(packet.DestinationOptions(), packet.HopByHop(), packet.AH(1, 2, make([]byte, 12)...)))
	first := []byte(web6.UDP(make([]byte, 2000)).With(packet.HopByHop()).Fragment(0, 1024, true).With(packet.ID(7)))
	later := []byte(web6.UDP(make([]byte, 2000)).Fragment(1024, 512, true))
	later4 := []byte(web.UDP(make([]byte, 2000)).With(packet.ID(9)).Fragment(1024, 512, false))
	for name, c := range map[string]struct {
		packet []byte
		want   header.View
	}{
		"nothing":         {nil, header.View{Fault: header.Empty}},
		"another version": {set(four, 0, 0x55), header.View{Fault: header.BadVersion}},
		"half a header":   {four[:19], header.View{Version: 4, Fault: header.CutHeader}},
		"half of IPv6":    {six[:39], header.View{Version: 6, Fault: header.CutHeader}},
		"IPv4":            {four, view4},
		"a trailer":       {append(slices.Clone(four), "trailer"...), view4},
		"cut":             {four[:24], with(view4, func(v *header.View) { v.End = 24 })},
		"header alone":    {four[:20], with(view4, func(v *header.View) { v.End = 20 })},
		"short header":    {set(four, 0, 0x44), with(view4, func(v *header.View) { v.Header, v.Fault = 16, header.BadHeaderLength })},
		"long header":     {set(four, 0, 0x4f), with(view4, func(v *header.View) { v.Header, v.Fault = 60, header.CutOptions })},
		"short length":    {set(four, 2, 0, 19), with(view4, func(v *header.View) { v.Length, v.End, v.Fault = 19, 20, header.BadLength })},
		"options":         {options, with(view4, func(v *header.View) { v.Header, v.Transport, v.Length, v.End = 24, 24, 37, 37 })},
		"a later fragment": {later4, with(view4, func(v *header.View) {
			v.Length, v.End, v.FragOffset, v.FragID, v.Fault = 532, 532, 1024, 9, header.LaterFragment
		})},
		"a first fragment": {set(four, 6, 0x20), with(view4, func(v *header.View) { v.More = true })},

		"IPv6":        {six, view6},
		"IPv6 is cut": {six[:44], with(view6, func(v *header.View) { v.End = 44 })},
		"IPv6 trails": {append(slices.Clone(six), "trailer"...), view6},
		"no length":   {set(six, 4, 0, 0), with(view6, func(v *header.View) { v.Length, v.End = 40, 40 })},
		"extensions": {extended, with(view6, func(v *header.View) { // 8 bytes, 8 bytes, 24 bytes
			v.Transport, v.End, v.Length = 80, 93, 93
		})},
		"a jumbogram": {set(extended, 4, 0, 0), with(view6, func(v *header.View) { v.Transport, v.End, v.Length = 80, 93, 40 })},
		"a cut extension": {extended[:79], with(view6, func(v *header.View) {
			v.Proto, v.Transport, v.End, v.Length, v.Fault = 51, 56, 79, 93, header.CutExtension
		})},
		"an extension beyond the end": {set(extended, 4, 0, 12), with(view6, func(v *header.View) {
			v.Proto, v.Transport, v.End, v.Length, v.Fault = 60, 48, 52, 52, header.CutExtension
		})},
		"the first fragment of IPv6": {first, with(view6, func(v *header.View) {
			v.Transport, v.End, v.Length, v.Fragment, v.More, v.FragID = 56, 56+1024, 56+1024, 48, true, 7
		})},
		"a later fragment of IPv6": {later, with(view6, func(v *header.View) {
			v.Transport, v.End, v.Length, v.Fragment, v.FragOffset, v.More = 48, 48+512, 48+512, 40, 1024, true
			v.Fault = header.LaterFragment
		})},
		"a fragment header on a whole packet": {set(later, 42, 0, 0), with(view6, func(v *header.View) {
			v.Transport, v.End, v.Length, v.Fragment = 48, 48+512, 48+512, 40
		})},
		"no next header": {set(six, 6, 59), with(view6, func(v *header.View) { v.Proto = 59 })},
	} {
		if diff := cmp.Diff(c.want, header.Parse(c.packet)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// A wrong length changes only the end of the packet.
func TestParseAllGoesToTheEnd(t *testing.T) {
	t.Parallel()
	for _, p := range [][]byte{web.UDP([]byte("hello")), web6.UDP([]byte("hello")).With(packet.HopByHop(), packet.DestinationOptions())} {
		at := map[uint8]int{4: 2, 6: 4}[header.Version(p)]
		want := header.Parse(p)
		for _, length := range []byte{0, 9, 30, 255} {
			wrong := set(p, at, 0, length)
			got := header.ParseAll(wrong)
			if got.Length == want.Length {
				t.Fatalf("the length of % x is right", wrong)
			}
			got.Length = want.Length
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("length %d (-want +got):\n%s", length, diff)
			}
		}
	}
}

func TestExtensionsAreInOrder(t *testing.T) {
	t.Parallel()
	p := web6.UDP(make([]byte, 64)).With(packet.DestinationOptions(1, 8, 0, 0, 0, 0, 0, 0, 0, 0), packet.HopByHop(), packet.AH(1, 2, make([]byte, 4)...))
	f := p.Fragment(0, 48, true)
	later := web6.UDP(make([]byte, 64)).Fragment(8, 48, true)
	got := map[string][]header.Extension{}
	for name, b := range map[string][]byte{"whole": p, "fragment": f, "later fragment": later, "cut": p[:70], "IPv4": web.UDP(nil), "half a header": p[:20], "nothing": nil} {
		got[name] = slices.Collect(header.Parse(b).Extensions(b))
	}
	want := map[string][]header.Extension{
		"whole":          {{Proto: 0, At: 40, Length: 8}, {Proto: 60, At: 48, Length: 16}, {Proto: 51, At: 64, Length: 16}},
		"fragment":       {{Proto: 0, At: 40, Length: 8}, {Proto: 44, At: 48, Length: 8}, {Proto: 60, At: 56, Length: 16}, {Proto: 51, At: 72, Length: 16}},
		"later fragment": {{Proto: 44, At: 40, Length: 8}},
		"cut":            {{Proto: 0, At: 40, Length: 8}, {Proto: 60, At: 48, Length: 16}},
		"IPv4":           nil, "half a header": nil, "nothing": nil,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFieldsOfBothFamilies(t *testing.T) {
	t.Parallel()
	for _, f := range []packet.Flow{web, web6} {
		p := f.UDP(nil).With(packet.TTL(7), packet.TOS(0xb8))
		v := header.Parse(p)
		src, dst := v.Src(p), v.Dst(p)
		n := v.AddrSize()
		if src != f.Src.Addr() || dst != f.Dst.Addr() || p[v.TTLAt()] != 7 || v.TOS(p) != 0xb8 ||
			!slices.Equal(p[v.SrcAt():][:n], src.AsSlice()) || !slices.Equal(p[v.DstAt():][:n], dst.AsSlice()) {
			t.Errorf("%v: %v to %v, TTL %d, TOS %#x", p, src, dst, p[v.TTLAt()], v.TOS(p))
		}
		header.ClearHop(p)
		if p[v.TTLAt()] != 0 || v.Version == 4 && binary.BigEndian.Uint16(p[header.HeaderSumAt:]) != 0 {
			t.Errorf("ClearHop has left % x", []byte(p))
		}
		for n := range p {
			header.ClearHop(p[:n]) // as far as it is there
		}
	}
}

func TestFaultIsAClause(t *testing.T) {
	t.Parallel()
	said := map[string]bool{}
	for f := header.NoFault; f <= header.Empty; f++ {
		said[f.String()] = true
	}
	if want := int(header.Empty); len(said) != want { // two are of the header's length
		t.Errorf("%d texts, want %d: %v", len(said), want, said)
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	p := []byte(packet.Unreachable(web6.Dst.Addr(), 1, packet.SYN(web6)).With(packet.HopByHop()))
	frame := []byte(packet.Packet(p).Frame(nf.MAC{}, nf.MAC{}).VLAN(5))
	n := testing.AllocsPerRun(100, func() {
		v := header.Parse(p)
		for e := range v.Extensions(p) {
			_ = e
		}
		l4 := v.Body(p)
		if len(v.Quoted(p)) == 0 || header.TransportSum(v.Proto, v.AddrBytes(p), l4) != header.GetSum(l4[2:4]) || header.ParseFrame(frame).Tags != 1 {
			t.Error("it was read wrongly")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkParse(b *testing.B) {
	p := []byte(packet.SYN(web6).With(packet.HopByHop(), packet.DestinationOptions()))
	b.ReportAllocs()
	for b.Loop() {
		header.Parse(p)
	}
}
