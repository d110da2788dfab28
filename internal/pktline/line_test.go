package pktline_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/internal/pktline"
)

func TestEveryProtocolHasALine(t *testing.T) {
	t.Parallel()
	with := func(p layers.IPProtocol, payload int) []byte {
		ip := ip4()
		ip.Protocol = p
		return build(ip, bytes(payload))
	}
	golden(t, "line.golden",
		sample{"TCP over IPv4", build(ip4(), tcp())},
		sample{"TCP over IPv6", build(ip6(), tcp())},
		sample{"UDP over IPv4", build(ip4(), udp(), bytes(5))},
		sample{"UDP over IPv6", build(ip6(), udp(), bytes(5))},
		sample{"SCTP has ports", set(with(layers.IPProtocolSCTP, 12), 20, 0x27, 0x10, 0, 80)},
		sample{"GRE has none", with(layers.IPProtocolGRE, 4)},
		sample{"VRRP", with(layers.IPProtocolVRRP, 20)},
		sample{"a number without a name", with(253, 20)},
		sample{"an empty payload", with(253, 0)},
		sample{"IPv4 in IPv4", build(ip4(), ip4(), udp())},
		sample{"IPv6 in IPv4", build(ip4(), ip6(), udp())},
	)
}

// FuzzFormat checks that whatever comes is one printable line.
func FuzzFormat(f *testing.F) {
	for _, p := range seeds() {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		line := pktline.Format(b)
		odd := func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }
		if line == "" || strings.ContainsFunc(line, odd) {
			t.Errorf("% x has the line %q", b, line)
		}
	})
}

// seeds are packets of all kinds, whole and cut after each byte of their headers.
func seeds() [][]byte {
	mss := layers.TCPOption{OptionType: layers.TCPOptionKindMSS, OptionData: []byte{5, 180}}
	syn := tcp()
	syn.Options = []layers.TCPOption{mss}
	whole := [][]byte{
		build(ip4(), syn), build(ip6(), syn), build(ip4(), udp(), bytes(5)), build(ip6(), udp(), bytes(5)),
		build(ip4(), unreachable(), ip4(), udp()), build(ip6(), tooBig(), bytes(4), ip6(), udp()),
		extended(), fragment4(8), fragment6(8),
		flow.SCTP(0, inject.SCTPInit(1, 2), inject.SCTPData(1, 2, 3, []byte("hello"))),
		flow.DCCP(inject.DCCP{Type: inject.DCCPResponse, Service: 42}), flow6.DCCP(inject.DCCP{Type: inject.DCCPReset}),
		flow.GRE(inject.GRE{Key: new(uint32(5)), Payload: flow6.UDP(nil)}), flow.PPTP(inject.PPTP{Ack: new(uint32(5)), Payload: []byte("ppp")}),
		inject.IGMP(flow.Src.Addr(), inject.IGMPv3Report, flow.Src.Addr()), flow.UDPLite(9, []byte("hello")),
		flow6.UDP(nil).With(inject.HopByHop(), inject.Routing(4, 0, 0, 0, 0, 0), inject.AH(1, 2, 0, 0, 0, 0)),
		inject.Redirect(flow6.Dst.Addr(), flow6.Dst.Addr(), flow6.UDP(nil)), flow.Raw(4, flow.UDP(nil)),
	}
	all := [][]byte{nil, {0x40}, {0x50}}
	for _, p := range whole {
		for n := range p {
			all = append(all, p[:n])
		}
		all = append(all, p)
	}
	return all
}

func BenchmarkFormat(b *testing.B) {
	p := build(ip4(), tcp())
	for b.Loop() {
		pktline.Format(p)
	}
}
