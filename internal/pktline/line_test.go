package pktline_test

import (
	"net/netip"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/header"
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

// FuzzFormat checks that the result is one printable line for any bytes.
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

// seeds returns packets of all kinds, complete and truncated after each byte of their headers.
func seeds() [][]byte {
	mss := layers.TCPOption{OptionType: layers.TCPOptionKindMSS, OptionData: []byte{5, 180}}
	syn := tcp()
	syn.Options = []layers.TCPOption{mss}
	whole := [][]byte{
		build(ip4(), syn), build(ip6(), syn), build(ip4(), udp(), bytes(5)), build(ip6(), udp(), bytes(5)),
		build(ip4(), unreachable(), ip4(), udp()), build(ip6(), tooBig(), bytes(4), ip6(), udp()),
		extended(), fragment4(8), fragment6(8),
		flow.SCTP(0, packet.SCTPInit(1, 2), packet.SCTPData(1, 2, 3, []byte("hello"))),
		flow.DCCP(packet.DCCP{Type: packet.DCCPResponse, Service: 42}), flow6.DCCP(packet.DCCP{Type: packet.DCCPReset}),
		flow.GRE(packet.GRE{Key: new(uint32(5)), Payload: flow6.UDP(nil)}), flow.PPTP(packet.PPTP{Ack: new(uint32(5)), Payload: []byte("ppp")}),
		packet.IGMP(flow.Src.Addr(), packet.IGMPv3Report, flow.Src.Addr()), flow.UDPLite(9, []byte("hello")),
		flow6.UDP(nil).With(packet.HopByHop(), packet.Routing(4, 0, 0, 0, 0, 0), packet.AH(1, 2, 0, 0, 0, 0)),
		packet.Redirect(flow6.Dst.Addr(), flow6.Dst.Addr(), flow6.UDP(nil)), flow.Raw(4, flow.UDP(nil)),
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

func TestFragmentsShowTheirOffset(t *testing.T) {
	t.Parallel()
	golden(t, "fragment.golden",
		sample{"the first one has ports", fragment4(0)},
		sample{"a later one has none", fragment4(1480)},
		sample{"the first one of IPv6", fragment6(0)},
		sample{"a later one of IPv6", fragment6(1480)},
	)
}

func TestExtensionHeadersAreSkipped(t *testing.T) {
	t.Parallel()
	p := extended()
	golden(t, "extension.golden",
		sample{"destination options, then UDP", p},
		sample{"cut within the extension", p[:44]},
		sample{"cut behind it", p[:48]},
		sample{"an extension longer than the packet", set(p, 41, 200)},
		sample{"no next header", build(func() *layers.IPv6 { h := ip6(); h.NextHeader = 59; return h }())},
		sample{"hop-by-hop without a length is a jumbogram", set(set(p, 4, 0, 0), 6, 0)},
	)
}

func TestBrokenHeadersAreNamed(t *testing.T) {
	t.Parallel()
	p4, p6 := build(ip4(), tcp()), build(ip6(), tcp())
	opts := ip4()
	opts.Options = []layers.IPv4Option{{OptionType: 7, OptionLength: 4, OptionData: []byte{0, 0}}}
	golden(t, "broken.golden",
		sample{"nothing", nil},
		sample{"another version", set(p4, 0, 0x50)},
		sample{"one byte", p4[:1]},
		sample{"half an IPv4 header", p4[:10]},
		sample{"half an IPv6 header", p6[:20]},
		sample{"IPv4 header length below 20", set(p4, 0, 0x44)},
		sample{"IPv4 header length beyond the packet", set(p4[:22], 0, 0x46)},
		sample{"IPv4 length below the header", set(p4, 2, 0, 10)},
		sample{"IPv4 length beyond the packet", set(p4, 2, 0, 60)},
		sample{"IPv4 length below the packet", set(build(ip4(), udp(), bytes(5)), 2, 0, 30)},
		sample{"IPv4 option of no length", set(build(opts, udp()), 21, 0)},
		sample{"IPv6 length beyond the packet", set(p6, 4, 0, 60)},
		sample{"IPv6 length of zero", set(p6, 4, 0, 0)},
	)
}

// fragment4 returns an IPv4 fragment with this offset and more fragments to follow.
func fragment4(offset int) []byte {
	ip := ip4()
	ip.Id, ip.Flags, ip.FragOffset = 7, layers.IPv4MoreFragments, uint16(offset/8)
	return set(build(ip, udp(), bytes(1472)), 24, 2000>>8, 2000&0xff) // the datagram is longer than its fragment
}

// fragment6 returns an IPv6 fragment with this offset and more fragments to follow.
func fragment6(offset int) []byte {
	ip := ip6()
	ip.NextHeader = layers.IPProtocolIPv6Fragment
	header := bytes(8)
	header[0], header[2], header[3], header[7] = byte(layers.IPProtocolUDP), byte(offset>>8), byte(offset)|1, 9
	return build(ip, header, udp(), bytes(8))
}

// extended returns a UDP datagram behind destination options.
func extended() []byte {
	ip := ip6()
	ip.NextHeader = layers.IPProtocolIPv6Destination
	header := bytes(8)
	header[0], header[2], header[3] = byte(layers.IPProtocolUDP), 1, 4 // PadN
	return build(ip, header, udp(), bytes(5))
}

func TestDecodeEndsWithWhatItCouldNotRead(t *testing.T) {
	t.Parallel()
	p := build(ip4(), tcp())
	got := map[string][]string{}
	for name, b := range map[string][]byte{
		"whole": p, "cut TCP": p[:30], "cut IP": p[:10], "nothing": nil, "another version": set(p, 0, 0x50),
		"IPv6": build(ip6(), &layers.UDP{SrcPort: 10000, DstPort: 10001}, bytes(3)),
	} {
		d := pktline.Decode(b)
		for _, l := range d.Layers() {
			got[name] = append(got[name], l.LayerType().String())
		}
		if e := d.ErrorLayer(); e != nil {
			got[name] = append(got[name], e.Error().Error())
		}
	}
	want := map[string][]string{
		"whole":           {"IPv4", "TCP"},
		"cut TCP":         {"IPv4", "TCP", "DecodeFailure", "Invalid TCP header. Length 10 less than 20"},
		"cut IP":          {"IPv4", "DecodeFailure", "Invalid ip4 header. Length 10 less than 20"},
		"nothing":         {"DecodeFailure", "empty packet"},
		"another version": {"DecodeFailure", "IP version 5 is neither 4 nor 6"},
		"IPv6":            {"IPv6", "UDP", "Payload"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("layers (-want +got):\n%s", diff)
	}
}

func TestDecodeCopies(t *testing.T) {
	t.Parallel()
	p := build(ip4(), udp(), bytes(5))
	d := pktline.Decode(p)
	want := append([]byte(nil), p...)

	clear(p)

	if diff := cmp.Diff(want, d.Data()); diff != "" {
		t.Errorf("data after the packet was overwritten (-want +got):\n%s", diff)
	}
}

// FuzzDecode checks that Decode returns for any bytes, and that its result can be printed.
func FuzzDecode(f *testing.F) {
	for _, p := range seeds() {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d := pktline.Decode(b)
		for _, l := range d.Layers() {
			l.LayerContents()
			l.LayerPayload()
		}
		if len(b) == 0 && d.ErrorLayer() == nil {
			t.Error("an empty packet has no error layer")
		}
	})
}

// What a packet is, and the rest of its line.
func TestWords(t *testing.T) {
	t.Parallel()
	web := packet.Flow{Src: netip.MustParseAddrPort("198.18.0.2:10000"), Dst: netip.MustParseAddrPort("192.0.2.1:80")}
	web6 := packet.Flow{Src: netip.MustParseAddrPort("[2001:db8::2]:10000"), Dst: netip.MustParseAddrPort("[2001:db8::1]:80")}
	got := map[string]string{}
	for _, p := range []packet.Packet{
		packet.SYN(web), packet.SYN(web).With(packet.Flags(0)), packet.SYNACK(web6), web6.UDP([]byte("hello")),
		packet.Echo(web.Src.Addr(), web.Dst.Addr(), 1, 2, nil), packet.Unreachable(web.Dst.Addr(), 3, web.UDP(nil)),
		packet.TimeExceeded(web6.Dst.Addr(), packet.SYN(web6)), packet.SYN(web)[:10], nil,
	} {
		what, rest := pktline.Words(header.EtherTypeOf(p), p)
		got[what] = rest
	}
	want := map[string]string{
		"SYN":                            "seq 1, win 65535, length 0",
		"TCP without flags":              "seq 1, win 65535, length 0",
		"SYN+ACK":                        "seq 1, ack 2, win 65535, length 0",
		"UDP":                            "length 5",
		"ICMP echo request":              "id 1, seq 2, length 8",
		"ICMP port unreachable":          "for (IP 198.18.0.2.10000 > 192.0.2.1.80: UDP, length 0), length 36",
		"ICMP6 time exceeded in transit": "for (IP6 2001:db8::2.10000 > 2001:db8::1.80: Flags [S], seq 1, win 65535, length 0), length 68",
		"IP header cut after 10 bytes":   "",
		"empty packet":                   "",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
