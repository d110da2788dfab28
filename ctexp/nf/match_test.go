package nf_test

import (
	"net/netip"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func flow(src, dst string) packet.Flow {
	return packet.Flow{Src: netip.MustParseAddrPort(src), Dst: netip.MustParseAddrPort(dst)}
}

var (
	web4 = flow("198.18.0.2:10000", "192.0.2.1:80")
	web6 = flow("[2001:db8:1::2]:10000", "[2001:db8::1]:80")
)

func TestMatchComparesItsFields(t *testing.T) {
	t.Parallel()
	syn, syn6, echo := packet.SYN(web4), packet.SYN(web6), packet.Echo(web4.Src.Addr(), web4.Dst.Addr(), 1, 2, nil)
	for _, tt := range []struct {
		match  nf.Match
		packet packet.Packet
		want   bool
	}{
		{nf.Match{}, syn, true},
		{nf.Match{In: "tun0"}, syn, true}, // the links are not in the packet
		{nf.Match{Proto: nf.TCP}, syn, true},
		{nf.Match{Proto: nf.UDP}, syn, false},
		{nf.Match{Proto: nf.TCP, SrcPort: 10000, DstPort: 80}, syn, true},
		{nf.Match{Proto: nf.TCP, DstPort: 81}, syn, false},
		{nf.Match{DstPort: 80}, echo, false},
		{nf.Match{Src: netip.MustParsePrefix("198.18.0.0/15")}, syn, true},
		{nf.Match{Src: netip.MustParsePrefix("198.18.0.0/15")}, syn6, false},
		{nf.Match{Dst: netip.MustParsePrefix("2001:db8::/64")}, syn6, true},
		{nf.Match{}, nil, true},
		{nf.Match{Proto: nf.TCP}, nil, false},
		{nf.Match{Proto: nf.TCP}, syn[:10], false},
	} {
		if got := tt.match.Packet(tt.packet); got != tt.want {
			t.Errorf("%q of %v: %v", tt.match, tt.packet, got)
		}
	}
}

func TestMatchPrintsItselfLikeNft(t *testing.T) {
	t.Parallel()
	m := nf.Match{In: "tun0", Src: netip.MustParsePrefix("198.18.0.0/15"), Proto: nf.TCP, DstPort: 80}
	if got, want := m.String(), "iifname tun0 ip saddr 198.18.0.0/15 tcp dport 80"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
