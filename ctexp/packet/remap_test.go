package packet_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/packettest"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// everywhere maps the networks of web and web6, and back.
var everywhere = map[netip.Prefix]netip.Prefix{
	prefix("198.18.0.0/15"): prefix("10.254.0.0/15"), prefix("10.254.0.0/15"): prefix("198.18.0.0/15"),
	prefix("2001:db8::/33"): prefix("fd00:1:8000::/33"), prefix("fd00:1:8000::/33"): prefix("2001:db8::/33"),
}

func ExampleRemap_Apply() {
	m := packet.Remap{
		Addrs: map[netip.Prefix]netip.Prefix{netip.MustParsePrefix("198.18.0.0/24"): netip.MustParsePrefix("10.1.2.0/24")},
		Ports: map[uint16]uint16{80: 8080},
	}
	fmt.Println(m.Apply(packet.SYN(web)))
	// Output: IP 10.1.2.2.10000 > 192.0.2.1.8080: Flags [S], seq 1, win 65535, length 0
}

// Each kind of packet, remapped, equals one that was changed field by field.
func TestARemapIsAChangeOfAllThatItNames(t *testing.T) {
	t.Parallel()
	src4, dst4 := netip.MustParseAddr("10.7.0.2"), netip.MustParseAddr("10.9.2.1")
	m := packet.Remap{
		Addrs: map[netip.Prefix]netip.Prefix{
			prefix("198.18.0.0/16"): prefix("10.7.0.0/16"), prefix("192.0.2.1/32"): prefix("10.9.2.1/32"),
			netip.PrefixFrom(web6.Src.Addr(), 128): prefix("fd00::7/128"), netip.PrefixFrom(web6.Dst.Addr(), 128): prefix("fd00::9/128"),
		},
		Ports: map[uint16]uint16{web.Src.Port(): 7, web.Dst.Port(): 9},
	}
	for _, f := range []packet.Flow{web, web6} {
		src, dst := src4, dst4
		if f == web6 {
			src, dst = netip.MustParseAddr("fd00::7"), netip.MustParseAddr("fd00::9")
		}
		for _, k := range packettest.Kinds(f) {
			want := k.Packet.With(packet.Src(src))
			if k.Packet.Tuple().Dst.Addr() == f.Dst.Addr() {
				want = want.With(packet.Dst(dst))
			}
			if k.Packet.Tuple().Proto.HasPorts() {
				want = want.With(packet.SrcPort(7), packet.DstPort(9))
			}
			got := m.Apply(k.Packet)
			if about := k.Packet.Quoted(); about != nil {
				own := k.Packet[:len(k.Packet)-len(about)]
				body := own[map[packet.Flow]int{web: 20 + 8, web6: 40 + 8}[f]:] // what a redirect has in front of the packet
				want = want.With(packet.Payload(append(slices.Clone(body), m.Apply(about)...)))
			}
			if diff := packet.Diff(want, got); diff != "" {
				t.Errorf("%s over %v:\n%s", k.Name, f, diff)
			}
		}
	}
}

// A Remap may have addresses or ports alone, or nothing.
func TestARemapOfOneKindLeavesTheOther(t *testing.T) {
	t.Parallel()
	addrs, ports := map[netip.Prefix]netip.Prefix{prefix("198.18.0.0/15"): prefix("10.254.0.0/15")}, map[uint16]uint16{80: 8080}
	syn := packet.SYN(web)
	moved := netip.MustParseAddr("10.254.0.2")
	for name, c := range map[string]struct {
		remap packet.Remap
		want  packet.Packet
	}{
		"nothing":   {packet.Remap{}, syn},
		"addresses": {packet.Remap{Addrs: addrs}, syn.With(packet.Src(moved))},
		"ports":     {packet.Remap{Ports: ports}, syn.With(packet.DstPort(8080))},
		"both":      {packet.Remap{Addrs: addrs, Ports: ports}, syn.With(packet.Src(moved), packet.DstPort(8080))},
	} {
		if diff := packet.Diff(c.want, c.remap.Apply(syn)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

// The packet that an ICMP error quotes is of the other direction, and may be truncated anywhere.
func TestARemapReachesWhatAnICMPErrorQuotes(t *testing.T) {
	t.Parallel()
	m := packet.Remap{Addrs: everywhere, Ports: map[uint16]uint16{web.Src.Port(): 7}}
	for _, f := range []packet.Flow{web, web6} {
		p := packet.Unreachable(f.Dst.Addr(), 1, f.TCP(packet.TCP{Seq: 1, Payload: make([]byte, 2000)}))
		got := m.Apply(p)
		if err := packettest.CheckSums(got); err != nil {
			t.Error(err)
		}
		about := got.Quoted().Tuple()
		if about.Src.Addr() == f.Src.Addr() || about.Src.Port() != 7 {
			t.Errorf("%v quotes %v", got, about)
		}
	}
}

func TestTheLongestPrefixDecides(t *testing.T) {
	t.Parallel()
	m := packet.Remap{Addrs: map[netip.Prefix]netip.Prefix{
		prefix("0.0.0.0/0"): prefix("0.0.0.0/0"), prefix("198.18.0.0/15"): prefix("10.2.0.0/15"),
		prefix("198.18.0.0/24"): prefix("10.9.9.0/24"), prefix("198.19.7.7/21"): prefix("10.8.255.255/21"),
	}}
	got := []string{}
	for _, src := range []string{"198.18.0.2", "198.18.1.2", "198.19.5.6", "198.20.0.1"} {
		f := packet.Flow{Src: netip.AddrPortFrom(netip.MustParseAddr(src), 1), Dst: web.Dst}
		got = append(got, m.Apply(f.UDP(nil)).Tuple().Src.Addr().String())
	}
	want := []string{"10.9.9.2", "10.2.1.2", "10.8.253.6", "198.20.0.1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
}

func TestFragmentsAreRemappedLikeTheWhole(t *testing.T) {
	t.Parallel()
	m := packet.Remap{Addrs: everywhere, Ports: map[uint16]uint16{web.Src.Port(): 7}}
	for _, f := range []packet.Flow{web, web6} {
		p := f.UDP(bytes.Repeat([]byte("odd"), 701))
		var got []packet.Packet
		for _, fragment := range p.Fragments(1280) {
			got = append(got, m.Apply(fragment))
		}
		whole := reassemble(got)
		if err := packettest.CheckSums(whole); err != nil {
			t.Errorf("%v: %v", whole, err)
		}
		if diff := packet.Diff(m.Apply(defragmentable(p)), whole); diff != "" {
			t.Errorf("whole again:\n%s", diff)
		}
	}
}

func TestAWrongRemapIsNamed(t *testing.T) {
	t.Parallel()
	got := map[string]string{}
	for name, pair := range map[string][2]netip.Prefix{
		"nothing":  {prefix("192.0.2.0/24"), netip.Prefix{}},
		"lengths":  {prefix("192.0.2.0/24"), prefix("10.0.0.0/8")},
		"families": {prefix("192.0.2.0/24"), prefix("fd00::/24")},
		"mapped":   {prefix("::ffff:192.0.2.0/120"), prefix("192.0.2.0/24")},
	} {
		m := packet.Remap{Addrs: map[netip.Prefix]netip.Prefix{pair[0]: pair[1]}}
		got[name] = packettest.PanicOf(func() { m.Apply(packet.SYN(web)) })
	}
	want := map[string]string{
		"nothing":  "packet: remap 192.0.2.0/24 to invalid Prefix: want an address and a length, such as 192.0.2.0/24",
		"lengths":  "packet: remap 192.0.2.0/24 to 10.0.0.0/8: their lengths differ",
		"families": "packet: remap 192.0.2.0/24 to fd00::/24: one is IPv4, one IPv6",
		"mapped":   "packet: remap ::ffff:192.0.2.0/120 to 192.0.2.0/24: want IPv4 addresses, not IPv4-mapped IPv6",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("panics (-want +got):\n%s", diff)
	}
}

// Any bytes can be remapped, and a complete packet with right checksums stays so.
func FuzzRemap(f *testing.F) {
	for _, flow := range []packet.Flow{web, web6} {
		for _, k := range packettest.Kinds(flow) {
			f.Add([]byte(k.Packet), uint16(8080))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, port uint16) {
		p := packet.Packet(b)
		was := p.Tuple()
		ports := map[uint16]uint16{was.Src.Port(): port}
		got := packet.Remap{Addrs: everywhere, Ports: ports}.Apply(p)
		if len(got) != len(p) {
			t.Fatalf("%d bytes became %d", len(p), len(got))
		}
		if now := got.Tuple(); was.Proto.HasPorts() && was.Src.Port() != 0 && now.Src.Port() != port {
			t.Errorf("%v became %v", was, now)
		}
		if was.Proto == nf.TCP && len(p) > 0 && packettest.IsWhole(p) && packettest.CheckSums(p) == nil && packettest.CheckSums(got) != nil {
			t.Errorf("%x became %x: %v", []byte(p), []byte(got), packettest.CheckSums(got))
		}
	})
}

func BenchmarkRemap(b *testing.B) {
	m := packet.Remap{Addrs: everywhere, Ports: map[uint16]uint16{80: 8080}}
	p := packet.SYN(web)
	b.ReportAllocs()
	for b.Loop() {
		m.Apply(p)
	}
}
