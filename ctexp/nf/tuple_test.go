package nf_test

import (
	"net/netip"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func TestTupleOfEveryKindOfPacket(t *testing.T) {
	t.Parallel()
	tcp := nf.Tuple{Proto: nf.TCP, Src: web4.Src, Dst: web4.Dst}
	for name, tt := range map[string]struct {
		packet []byte
		want   nf.Tuple
		ok     bool
	}{
		"tcp":            {packet.SYN(web4), tcp, true},
		"tcp over ipv6":  {packet.SYN(web6), nf.Tuple{Proto: nf.TCP, Src: web6.Src, Dst: web6.Dst}, true},
		"echo":           {packet.Echo(web4.Src.Addr(), web4.Dst.Addr(), 7, 2, nil), nf.Tuple{Proto: nf.ICMP, Src: noPort(web4.Src), Dst: noPort(web4.Dst), ICMP: nf.ICMPTuple{Type: 8, ID: 7}}, true},
		"cut in ports":   {packet.SYN(web4)[:22], nf.Tuple{Proto: nf.TCP, Src: noPort(web4.Src), Dst: noPort(web4.Dst)}, true},
		"later fragment": {fragment(packet.SYN(web4)), nf.Tuple{Proto: nf.TCP, Src: noPort(web4.Src), Dst: noPort(web4.Dst)}, true},
		"gre":            {web4.GRE(packet.GRE{Key: new(uint32(9))}), nf.Tuple{Proto: nf.GRE, Src: noPort(web4.Src), Dst: noPort(web4.Dst)}, true},
		"pptp":           {web4.PPTP(packet.PPTP{CallID: 5, Seq: 1, Payload: []byte("PPP")}), nf.Tuple{Proto: nf.GRE, Src: noPort(web4.Src), Dst: netip.AddrPortFrom(web4.Dst.Addr(), 5)}, true},
		"cut pptp":       {web4.PPTP(packet.PPTP{CallID: 5})[:27], nf.Tuple{Proto: nf.GRE, Src: noPort(web4.Src), Dst: noPort(web4.Dst)}, true},
		"hop by hop":     {hopByHop(packet.SYN(web6)), nf.Tuple{Proto: nf.TCP, Src: web6.Src, Dst: web6.Dst}, true},
		"too short":      {packet.SYN(web4)[:19], nf.Tuple{}, false},
		"version 5":      {append([]byte{0x55}, packet.SYN(web4)[1:]...), nf.Tuple{}, false},
		"nothing":        {nil, nf.Tuple{}, false},
	} {
		if got, ok := nf.TupleOf(tt.packet); got != tt.want || ok != tt.ok {
			t.Errorf("%s: %+v, %v; want %+v, %v", name, got, ok, tt.want, tt.ok)
		}
	}
}

func noPort(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), 0) }

// fragment turns p into a later fragment.
func fragment(p []byte) []byte {
	p[6], p[7] = 0, 3
	return p
}

// hopByHop inserts a hop-by-hop header of 8 bytes into p.
func hopByHop(p []byte) []byte {
	out := append([]byte(nil), p[:40]...)
	out[6] = 0
	out[5] += 8 // the payload's length
	out = append(out, 6, 0, 1, 4, 0, 0, 0, 0)
	return append(out, p[40:]...)
}

func FuzzTupleOf(f *testing.F) {
	f.Add([]byte(packet.SYN(web4)))
	f.Add(hopByHop(packet.SYN(web6)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		tuple, ok := nf.TupleOf(b)
		if !ok && tuple != (nf.Tuple{}) {
			t.Errorf("not ok, but %v", tuple)
		}
		_ = tuple.String()
	})
}

// A packet ends where its length field says, except for a jumbogram, whose length field is zero.
func TestTupleEndsWhereThePacketDoes(t *testing.T) {
	t.Parallel()
	datagram := web6.UDP([]byte("hello"))
	jumbo := datagram.With(packet.HopByHop())
	jumbo[4], jumbo[5] = 0, 0
	for name, c := range map[string]struct {
		packet packet.Packet
		port   uint16
	}{
		"whole": {datagram, 80}, "no length": {datagram.With(packet.TotalLength(40)), 0}, "jumbogram": {jumbo, 80},
	} {
		if got, ok := nf.TupleOf(c.packet); !ok || got.Dst.Port() != c.port {
			t.Errorf("%s: %v %v, want port %d", name, got, ok, c.port)
		}
	}
}

func BenchmarkTupleOf(b *testing.B) {
	for name, p := range map[string]packet.Packet{
		"IPv4": packet.SYN(web4), "IPv6": packet.SYN(web6), "extensions": packet.SYN(web6).With(packet.HopByHop(), packet.DestinationOptions()),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				nf.TupleOf(p)
			}
		})
	}
}

func TestMACString(t *testing.T) {
	t.Parallel()
	if got, want := (nf.MAC{2, 0, 0, 0, 0, 0xab}).String(), "02:00:00:00:00:ab"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
