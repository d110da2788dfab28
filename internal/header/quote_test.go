package header_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/header"
)

func TestErrorsAndRedirectsQuote(t *testing.T) {
	t.Parallel()
	got := map[uint8][]int{}
	for _, proto := range []uint8{header.ProtoICMP, header.ProtoICMPv6, header.ProtoTCP} {
		for typ := range 256 {
			if header.Quotes(proto, uint8(typ)) {
				got[proto] = append(got[proto], typ)
			}
		}
	}
	var errors6 []int
	for typ := range 128 {
		errors6 = append(errors6, typ)
	}
	want := map[uint8][]int{header.ProtoICMP: {3, 4, 5, 11, 12}, header.ProtoICMPv6: append(errors6, 137)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("types that quote (-want +got):\n%s", diff)
	}
}

func TestQuotedPacketMayBeTruncated(t *testing.T) {
	t.Parallel()
	syn, syn6 := packet.SYN(web), packet.SYN(web6)
	unreachable := packet.Unreachable(web.Dst.Addr(), 1, syn)
	redirect := packet.Redirect(netip.MustParseAddr("fe80::1"), netip.MustParseAddr("fe80::2"), syn6)
	quoted6 := syn6[:len(syn6)&^7]
	for name, c := range map[string]struct{ packet, want packet.Packet }{
		"unreachable":           {unreachable, syn},
		"with a trailer":        {append(slices.Clone(unreachable), "trailer"...), syn},
		"cut":                   {unreachable[:50], syn[:22]},
		"its header alone":      {unreachable[:28], packet.Packet{}},
		"its header cut":        {unreachable[:27], nil},
		"behind extensions":     {packet.TimeExceeded(web6.Dst.Addr(), syn6).With(packet.HopByHop()), syn6},
		"redirect":              {redirect, quoted6},
		"redirect, cut":         {redirect[:100], quoted6[:12]},
		"redirect, another one": {set(redirect, 80, 2), nil},
		"redirect, none":        {redirect[:80], nil},
		"redirect, no length":   {set(redirect, 81, 0), nil},
		"redirect, one before": {
			redirect.With(packet.Payload(slices.Concat(redirect[48:80], []byte{2, 1, 0, 0, 0, 0, 0, 0}, redirect[80:]))), quoted6,
		},
		"a fragment": {unreachable.Fragment(8, 40, false), nil},
		"echo":       {packet.Echo(web.Src.Addr(), web.Dst.Addr(), 1, 1, syn), nil},
		"TCP":        {syn, nil},
		"nothing":    {nil, nil},
	} {
		if got := header.Parse(c.packet).Quoted(c.packet); !slices.Equal(got, c.want) || got == nil != (c.want == nil) {
			t.Errorf("%s: got % x, want % x", name, got, []byte(c.want))
		}
	}
}

// All functions that read the quoted packet of an ICMP message agree.
func TestQuotedPacketIsTheSameForEveryReader(t *testing.T) {
	t.Parallel()
	reserved := packet.PacketTooBig(web6.Dst.Addr(), 1280, packet.SYN(web6)).With(packet.ICMPType(100, 0)) // RFC 4443, 2.1
	m := packet.Remap{Addrs: map[netip.Prefix]netip.Prefix{
		netip.MustParsePrefix("2001:db8::/32"): netip.MustParsePrefix("2001:db9::/32"),
		netip.MustParsePrefix("198.18.0.0/15"): netip.MustParsePrefix("10.2.0.0/15"),
	}}
	for name, p := range map[string]packet.Packet{
		"redirect":         packet.Redirect(netip.MustParseAddr("fe80::1"), netip.MustParseAddr("fe80::2"), packet.SYN(web6)),
		"type 100":         reserved,
		"redirect of IPv4": packet.Redirect(web.Dst.Addr(), netip.MustParseAddr("192.0.2.9"), packet.SYN(web)),
		"too big":          packet.PacketTooBig(web6.Dst.Addr(), 1280, packet.SYN(web6)),
	} {
		about := p.Quoted().Tuple()
		if about.Src != web.Src && about.Src != web6.Src {
			t.Errorf("%s: Quoted: %v", name, about)
		}
		if got := (packet.Record{EtherType: header.EtherTypeOf(p), Packet: p}).About(); got != about {
			t.Errorf("%s: About: %v, Quoted: %v", name, got, about)
		}
		remapped := m.Apply(p)
		if to, from := remapped.Tuple().Dst.Addr(), remapped.Quoted().Tuple().Src.Addr(); to != from || to == p.Tuple().Dst.Addr() {
			t.Errorf("%s, remapped: it goes to %v, about a packet from %v", name, to, from)
		}
		if f := remapped.Fields(); !slices.Contains(f, packet.Field{Name: "checksum", Value: "right"}) {
			t.Errorf("%s, remapped: %v", name, f)
		}
	}
}

func TestQueriesHaveIdentifiers(t *testing.T) {
	t.Parallel()
	got := map[uint8][]uint8{}
	for _, proto := range []uint8{header.ProtoICMP, header.ProtoICMPv6} {
		for typ := range 256 {
			if header.IsQuery(proto, uint8(typ)) {
				got[proto] = append(got[proto], uint8(typ))
			}
		}
	}
	want := map[uint8][]uint8{header.ProtoICMP: {0, 8, 13, 14, 15, 16, 17, 18}, header.ProtoICMPv6: {128, 129}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("types by protocol (-want +got):\n%s", diff)
	}
}
