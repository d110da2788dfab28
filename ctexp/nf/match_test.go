package nf_test

import (
	"net/netip"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func flow(src, dst string) inject.Flow {
	return inject.Flow{Src: netip.MustParseAddrPort(src), Dst: netip.MustParseAddrPort(dst)}
}

var (
	web4 = flow("198.18.0.2:10000", "192.0.2.1:80")
	web6 = flow("[2001:db8:1::2]:10000", "[2001:db8::1]:80")
)

func TestMatchMeansWhatItsFieldsSay(t *testing.T) {
	t.Parallel()
	syn, syn6, echo := inject.SYN(web4), inject.SYN(web6), inject.Echo(web4.Src.Addr(), web4.Dst.Addr(), 1, 2, nil)
	for _, tt := range []struct {
		match  nf.Match
		packet inject.Packet
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

func TestTupleOfEveryKindOfPacket(t *testing.T) {
	t.Parallel()
	tcp := nf.Tuple{Proto: nf.TCP, Src: web4.Src, Dst: web4.Dst}
	for name, tt := range map[string]struct {
		packet []byte
		want   nf.Tuple
		ok     bool
	}{
		"tcp":            {inject.SYN(web4), tcp, true},
		"tcp over ipv6":  {inject.SYN(web6), nf.Tuple{Proto: nf.TCP, Src: web6.Src, Dst: web6.Dst}, true},
		"echo":           {inject.Echo(web4.Src.Addr(), web4.Dst.Addr(), 7, 2, nil), nf.Tuple{Proto: nf.ICMP, Src: noPort(web4.Src), Dst: noPort(web4.Dst), ICMP: nf.ICMPTuple{Type: 8, ID: 7}}, true},
		"cut in ports":   {inject.SYN(web4)[:22], nf.Tuple{Proto: nf.TCP, Src: noPort(web4.Src), Dst: noPort(web4.Dst)}, true},
		"later fragment": {fragment(inject.SYN(web4)), nf.Tuple{Proto: nf.TCP, Src: noPort(web4.Src), Dst: noPort(web4.Dst)}, true},
		"gre":            {web4.GRE(inject.GRE{Key: new(uint32(9))}), nf.Tuple{Proto: nf.GRE, Src: noPort(web4.Src), Dst: noPort(web4.Dst)}, true},
		"pptp":           {web4.PPTP(inject.PPTP{CallID: 5, Seq: 1, Payload: []byte("PPP")}), nf.Tuple{Proto: nf.GRE, Src: noPort(web4.Src), Dst: netip.AddrPortFrom(web4.Dst.Addr(), 5)}, true},
		"cut pptp":       {web4.PPTP(inject.PPTP{CallID: 5})[:27], nf.Tuple{Proto: nf.GRE, Src: noPort(web4.Src), Dst: noPort(web4.Dst)}, true},
		"hop by hop":     {hopByHop(inject.SYN(web6)), nf.Tuple{Proto: nf.TCP, Src: web6.Src, Dst: web6.Dst}, true},
		"too short":      {inject.SYN(web4)[:19], nf.Tuple{}, false},
		"version 5":      {append([]byte{0x55}, inject.SYN(web4)[1:]...), nf.Tuple{}, false},
		"nothing":        {nil, nf.Tuple{}, false},
	} {
		if got, ok := nf.TupleOf(tt.packet); got != tt.want || ok != tt.ok {
			t.Errorf("%s: %+v, %v; want %+v, %v", name, got, ok, tt.want, tt.ok)
		}
	}
}

func noPort(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), 0) }

// fragment makes p a fragment that is not the first.
func fragment(p []byte) []byte {
	p[6], p[7] = 0, 3
	return p
}

// hopByHop puts a hop-by-hop header of 8 bytes into p.
func hopByHop(p []byte) []byte {
	out := append([]byte(nil), p[:40]...)
	out[6] = 0
	out[5] += 8 // the payload's length
	out = append(out, 6, 0, 1, 4, 0, 0, 0, 0)
	return append(out, p[40:]...)
}

func FuzzTupleOf(f *testing.F) {
	f.Add([]byte(inject.SYN(web4)))
	f.Add(hopByHop(inject.SYN(web6)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		tuple, ok := nf.TupleOf(b)
		if !ok && tuple != (nf.Tuple{}) {
			t.Errorf("not ok, but %v", tuple)
		}
		_ = tuple.String()
		_ = nf.Match{Proto: nf.TCP, DstPort: 80}.Packet(b)
	})
}
