package packet_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/packettest"
)

func ExamplePacket_With() {
	syn := packet.SYN(web)
	fmt.Println(syn.With(packet.SrcPort(10001), packet.Window(1000)))
	fmt.Print(packet.Diff(syn, syn.With(packet.TTL(1), packet.Checksum(0xbad))))
	// Output:
	// IP 198.18.0.2.10001 > 192.0.2.1.80: Flags [S], seq 1, win 1000, length 0
	//            | want  | got
	// ≠ ttl      | 64    | 1
	// ≠ checksum | right | 0x0bad, right is 0x006c
}

// unlike has the kinds whose payload also has the addresses, or one of them.
var unlike = []string{
	"unreachable", "too big", "time exceeded", "parameter problem", "redirect", "about a large one", "routing",
	"igmp query", "igmp query of a group", "igmp report", "igmp leave", "igmp v3 report",
}

// A packet with changed addresses is the one built for them: lengths and checksums of all kinds stay right.
func TestAChangedPacketIsTheOneBuiltThatWay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ from, to packet.Flow }{
		{web, packet.Flow{Src: addrPort("10.1.2.3:7"), Dst: addrPort("172.16.255.254:65535")}},
		{web6, packet.Flow{Src: addrPort("[fd00::1]:7"), Dst: addrPort("[fd00:ffff::2]:65535")}},
	} {
		target := packettest.Kinds(c.to)
		for i, k := range packettest.Kinds(c.from) {
			if slices.Contains(unlike, k.Name) {
				continue
			}
			changes := []packet.Change{packet.Src(c.to.Src.Addr()), packet.Dst(c.to.Dst.Addr())}
			if k.Packet.Tuple().Proto.HasPorts() {
				changes = append(changes, packet.SrcPort(c.to.Src.Port()), packet.DstPort(c.to.Dst.Port()))
			}
			if diff := packet.Diff(target[i].Packet, k.Packet.With(changes...)); diff != "" {
				t.Errorf("%s of %v changed to %v:\n%s", k.Name, c.from, c.to, diff)
			}
		}
	}
}

// Each change makes the packet that building with it would have made.
func TestEachChangeChangesItsField(t *testing.T) {
	t.Parallel()
	seg := packet.TCP{Flags: packet.FlagACK, Seq: 5, Ack: 6, Window: 7, Payload: []byte("hello")}
	with := func(set func(*packet.TCP)) packet.Packet {
		s := seg
		set(&s)
		return web6.TCP(s)
	}
	options := []packet.TCPOption{packet.MSS(1460), packet.WindowScale(7)}
	src, dst := web.Src.Addr(), web.Dst.Addr()
	for name, c := range map[string]struct {
		from   packet.Packet
		change packet.Change
		want   packet.Packet
	}{
		"Seq":     {web6.TCP(seg), packet.Seq(9), with(func(s *packet.TCP) { s.Seq = 9 })},
		"Ack":     {web6.TCP(seg), packet.Ack(9), with(func(s *packet.TCP) { s.Ack = 9 })},
		"Flags":   {web6.TCP(seg), packet.Flags(packet.FlagSYN), with(func(s *packet.TCP) { s.Flags = packet.FlagSYN })},
		"Window":  {web6.TCP(seg), packet.Window(9), with(func(s *packet.TCP) { s.Window = 9 })},
		"Urgent":  {web6.TCP(seg), packet.Urgent(9), with(func(s *packet.TCP) { s.Urgent = 9 })},
		"Options": {web6.TCP(seg), packet.Options(options...), with(func(s *packet.TCP) { s.Options = options })},
		"no Options": {
			with(func(s *packet.TCP) { s.Options = options }), packet.Options(), web6.TCP(seg),
		},
		"Payload":        {web6.TCP(seg), packet.Payload([]byte("longer")), with(func(s *packet.TCP) { s.Payload = []byte("longer") })},
		"no Payload":     {web.UDP([]byte("hello")), packet.Payload(nil), web.UDP(nil)},
		"more of UDP":    {web.UDP(nil), packet.Payload([]byte("hello")), web.UDP([]byte("hello"))},
		"UDP-Lite":       {web.UDPLite(8, nil), packet.Payload([]byte("hi")), web.UDPLite(0, []byte("hi")).With(packet.UDPLength(10))},
		"SCTP":           {web.SCTP(1, packet.SCTPAbort()), packet.Payload([]byte{11, 0, 0, 4}), web.SCTP(1, packet.SCTPCookieAck())},
		"EchoID":         {packet.Echo(src, dst, 1, 2, nil), packet.EchoID(9), packet.Echo(src, dst, 9, 2, nil)},
		"Seq of an echo": {packet.Echo(src, dst, 1, 2, nil), packet.Seq(9), packet.Echo(src, dst, 1, 9, nil)},
		"ICMPType":       {packet.Echo(src, dst, 1, 2, nil), packet.ICMPType(0, 0), packet.EchoReply(src, dst, 1, 2, nil)},
		"Seq of GRE":     {web.GRE(packet.GRE{Seq: new(uint32(1))}), packet.Seq(2), web.GRE(packet.GRE{Seq: new(uint32(2))})},
		"IPOptions": {
			packet.SYN(web).With(packet.IPOptions(packet.RouterAlert())), packet.IPOptions(), packet.SYN(web),
		},
		"DontFragment":   {packet.SYN(web).With(packet.DontFragment(false)), packet.DontFragment(true), packet.SYN(web)},
		"FragmentOffset": {packet.SYN(web).Fragment(8, 12, false), packet.FragmentOffset(0, true), packet.SYN(web).Fragment(8, 12, false).With(packet.FragmentOffset(0, true))},
	} {
		if diff := packet.Diff(c.want, c.from.With(c.change)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

// A packet that was cut behind a field can have it changed.
func TestACutHeaderIsChangedAsFarAsItGoes(t *testing.T) {
	t.Parallel()
	cut := packet.ACK(web)[:20+12]
	if got := cut.With(packet.Ack(0x01020304)); !bytes.HasSuffix(got, []byte{1, 2, 3, 4}) {
		t.Errorf("the acknowledgement number is in %x", []byte(got))
	}
}

func TestWithLeavesItsReceiverAlone(t *testing.T) {
	t.Parallel()
	for _, k := range append(packettest.Kinds(web), packettest.Kinds(web6)...) {
		before := bytes.Clone(k.Packet)
		k.Packet.With(packet.TTL(1), packet.TOS(4), packet.Payload([]byte("other")), packet.Version(9), packet.Truncate(30))
		if diff := cmp.Diff(before, []byte(k.Packet)); diff != "" {
			t.Errorf("%s after With (-want +got):\n%s", k.Name, diff)
		}
	}
}

// Wrong lengths and checksums are kept, whatever else is changed, in any order.
func TestWhatIsWrongOnPurposeStaysWrong(t *testing.T) {
	t.Parallel()
	wrong := []packet.Change{packet.TotalLength(77), packet.HeaderChecksum(1), packet.Checksum(2), packet.UDPLength(3)}
	other := []packet.Change{packet.TTL(1), packet.SrcPort(9), packet.Payload([]byte("longer"))}
	p := web.UDP([]byte("hello"))

	once := p.With(append(slices.Clone(wrong), other...)...)
	twice := p.With(wrong...).With(other...)

	if diff := packet.Diff(once, twice); diff != "" {
		t.Errorf("all in one against one after the other:\n%s", diff)
	}
	want := []packet.Field{
		{"length", "77, there are 34"}, {"header checksum", "0x0001, right is 0xf18a"},
		{"udp length", "3, there are 14"}, {"checksum", "0x0002, right is 0x3725"},
	}
	if diff := cmp.Diff(want, only(once.Fields(), "length", "header checksum", "udp length", "checksum")); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

// A checksum is right over a wrong length, so that the packet is not dropped for its checksum.
func TestAWrongLengthHasARightChecksumOverIt(t *testing.T) {
	t.Parallel()
	got := map[string]string{}
	for name, c := range map[string]packet.Change{
		"TotalLength": packet.TotalLength(20), "Version": packet.Version(5), "IHL": packet.IHL(6),
		"FragmentOffset": packet.FragmentOffset(65528, true), "Proto": packet.Proto(17),
	} {
		p := packet.SYN(web).With(c)
		p[0] = 0x40 | p[0]&15
		got[name] = only(p.Fields(), "header checksum")[0].Value
	}
	want := map[string]string{
		"TotalLength": "right", "IHL": "right", "FragmentOffset": "right", "Proto": "right",
		"Version": "0xa2ba, right is 0xb2ba", // as the version is 4 again
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("header checksums (-want +got):\n%s", diff)
	}
}

// only returns the fields with the names.
func only(fs []packet.Field, names ...string) []packet.Field {
	return slices.DeleteFunc(fs, func(f packet.Field) bool { return !slices.Contains(names, f.Name) })
}

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// An impossible change panics with its name and the reason.
func TestImpossibleChangesPanic(t *testing.T) {
	t.Parallel()
	syn, echo := packet.SYN(web), packet.Echo(web.Src.Addr(), web.Dst.Addr(), 1, 1, nil)
	later, syn6 := web.UDP(make([]byte, 100)).Fragment(8, 8, false), packet.SYN(web6)
	got := map[string]string{}
	for name, f := range map[string]func() packet.Packet{
		"nothing":                func() packet.Packet { return packet.Packet(nil).With() },
		"version 5":              func() packet.Packet { return syn.With(packet.Version(5)).With() },
		"half a header":          func() packet.Packet { return syn[:10].With() },
		"an empty change":        func() packet.Packet { return syn.With(packet.Change{}) },
		"a port of ICMP":         func() packet.Packet { return echo.With(packet.SrcPort(1)) },
		"a port of a fragment":   func() packet.Packet { return later.With(packet.DstPort(1)) },
		"a port that is cut":     func() packet.Packet { return syn[:22].With(packet.DstPort(1)) },
		"flags of ICMP":          func() packet.Packet { return echo.With(packet.Flags(0)) },
		"a large number of echo": func() packet.Packet { return echo.With(packet.Seq(65536)) },
		"no number":              func() packet.Packet { return web.UDP(nil).With(packet.Seq(1)) },
		"another family":         func() packet.Packet { return syn.With(packet.Src(web6.Src.Addr())) },
		"no address":             func() packet.Packet { return syn6.With(packet.Dst(netip.Addr{})) },
		"too many options":       func() packet.Packet { return syn.With(packet.Options(make([]packet.TCPOption, 41)...)) },
		"an ID without fragment": func() packet.Packet { return syn6.With(packet.ID(1)) },
		"a large ID":             func() packet.Packet { return syn.With(packet.ID(65536)) },
		"hop-by-hop of IPv4":     func() packet.Packet { return syn.With(packet.HopByHop()) },
		"a crooked AH":           func() packet.Packet { return syn6.With(packet.AH(1, 2)) },
		"IHL of IPv6":            func() packet.Packet { return syn6.With(packet.IHL(5)) },
		"a large IHL":            func() packet.Packet { return syn.With(packet.IHL(16)) },
		"a large version":        func() packet.Packet { return syn.With(packet.Version(16)) },
		"a large data offset":    func() packet.Packet { return syn.With(packet.DataOffset(16)) },
		"a label of IPv4":        func() packet.Packet { return syn.With(packet.FlowLabel(1)) },
		"a large label":          func() packet.Packet { return syn6.With(packet.FlowLabel(1 << 20)) },
		"a negative length":      func() packet.Packet { return syn6.With(packet.TotalLength(39)) },
		"a crooked offset":       func() packet.Packet { return syn.With(packet.FragmentOffset(9, true)) },
		"a checksum of nothing":  func() packet.Packet { return web.Raw(253, nil).With(packet.Checksum(1)) },
		"a large checksum":       func() packet.Packet { return syn.With(packet.Checksum(1 << 16)) },
		"cut below nothing":      func() packet.Packet { return syn.With(packet.Truncate(-1)) },
		"more than fits":         func() packet.Packet { return syn.With(packet.Payload(make([]byte, 65500))) },
		"more than UDP has":      func() packet.Packet { return web6.UDP(nil).With(packet.Payload(make([]byte, 65530))) },
	} {
		got[name] = packettest.PanicOf(func() { f() })
	}
	want := map[string]string{
		"nothing":                "packet: With: it is empty",
		"version 5":              "packet: With: the IP version is 5",
		"half a header":          "packet: With: the header is truncated after 10 bytes",
		"an empty change":        "packet: With: an empty Change",
		"a port of ICMP":         "packet: SrcPort: ICMP has no ports",
		"a port of a fragment":   "packet: DstPort: there is no transport header: it is a later fragment",
		"a port that is cut":     "packet: DstPort: the TCP header is truncated after 2 bytes",
		"flags of ICMP":          "packet: Flags: a packet of ICMP is not a TCP segment",
		"a large number of echo": "packet: Seq: 65536 has more than the 16 bits of an echo",
		"no number":              "packet: Seq: this packet of UDP has no sequence number",
		"another family":         "packet: Src: 2001:db8::2 is of the other family",
		"no address":             "packet: Dst: invalid IP is of the other family",
		"too many options":       "packet: Options: 44 bytes of options are more than 40",
		"an ID without fragment": "packet: ID: the packet has no fragment header: use Fragment first",
		"a large ID":             "packet: ID: 65536 has more than 16 bits",
		"hop-by-hop of IPv4":     "packet: HopByHop: IPv4 has no extension headers",
		"a crooked AH":           "packet: AH: the header has 12 bytes: want a multiple of 8, up to 2048",
		"IHL of IPv6":            "packet: IHL: IPv6 has none",
		"a large IHL":            "packet: IHL: 16 does not fit: want 0 to 15",
		"a large version":        "packet: Version: 16 does not fit: want 0 to 15",
		"a large data offset":    "packet: DataOffset: 16 does not fit: want 0 to 15",
		"a label of IPv4":        "packet: FlowLabel: IPv4 has none",
		"a large label":          "packet: FlowLabel: 0x100000 has more than 20 bits",
		"a negative length":      "packet: TotalLength: -1 does not fit: want 0 to 65535",
		"a crooked offset":       "packet: FragmentOffset: 9 is not a multiple of 8",
		"a checksum of nothing":  "packet: Checksum: this packet of protocol 253 has none",
		"a large checksum":       "packet: Checksum: 0x10000 has more than 16 bits",
		"cut below nothing":      "packet: Truncate: -1 is negative",
		"more than fits":         "packet: With: length 65540 does not fit into the header",
		"more than UDP has":      "packet: With: a datagram of 65538 bytes is longer than 65535",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("panics (-want +got):\n%s", diff)
	}
}

// FuzzWith checks that With without changes returns any packet as it is, and that TTL changes only that byte and the header
// checksum.
func FuzzWith(f *testing.F) {
	for _, k := range append(packettest.Kinds(web), packettest.Kinds(web6)...) {
		f.Add([]byte(k.Packet), uint8(1))
		f.Add([]byte(k.Packet[:len(k.Packet)-1]), uint8(255))
	}
	f.Fuzz(func(t *testing.T, b []byte, ttl uint8) {
		p := packet.Packet(b)
		defer func() {
			if r := recover(); r != nil && !strings.HasPrefix(fmt.Sprint(r), "packet: With: ") {
				t.Errorf("%x: panic: %v", b, r)
			}
		}()
		if diff := cmp.Diff(p, p.With()); diff != "" {
			t.Errorf("unchanged (-want +got):\n%s", diff)
		}
		q := p.With(packet.TTL(ttl))
		want := slices.Clone(p)
		switch p[0] >> 4 {
		case 4:
			want[8] = ttl
			copy(want[10:12], q[10:12])
		case 6:
			want[7] = ttl
		}
		if diff := cmp.Diff(want, q); diff != "" {
			t.Errorf("another TTL (-want +got):\n%s", diff)
		}
		if p.Fields(); packet.Diff(p, q) == "" && !bytes.Equal(p, q) {
			t.Errorf("no difference between %x and %x", p, q)
		}
	})
}

// FuzzChanges checks that a change panics only with its own name, whatever the packet, and that right lengths and checksums
// stay right.
func FuzzChanges(f *testing.F) {
	for _, k := range append(packettest.Kinds(web), packettest.Kinds(web6)...) {
		f.Add([]byte(k.Packet), uint16(7))
	}
	f.Fuzz(func(t *testing.T, b []byte, n uint16) {
		p, small := packet.Packet(b), uint8(n)
		for name, change := range map[string]packet.Change{
			"Src": packet.Src(web.Dst.Addr()), "Dst": packet.Dst(web6.Src.Addr()), "SrcPort": packet.SrcPort(n), "DstPort": packet.DstPort(n),
			"TOS": packet.TOS(small), "FlowLabel": packet.FlowLabel(uint32(n)), "ID": packet.ID(uint32(n)), "DontFragment": packet.DontFragment(n&1 == 0),
			"IPOptions": packet.IPOptions(packet.RouterAlert()), "Seq": packet.Seq(uint32(n)), "Ack": packet.Ack(uint32(n)),
			"Flags": packet.Flags(packet.TCPFlags(n)), "Window": packet.Window(n), "Urgent": packet.Urgent(n), "Options": packet.Options(packet.MSS(n)),
			"ICMPType": packet.ICMPType(small, 0), "EchoID": packet.EchoID(n), "Payload": packet.Payload(b),
			"HopByHop": packet.HopByHop(small), "Routing": packet.Routing(small, 0, 0, 0, 0, 0), "AH": packet.AH(1, 2, 0, 0, 0, 0),
		} {
			changed(t, name, p, change)
		}
		for name, change := range map[string]packet.Change{
			"Version": packet.Version(small & 15), "IHL": packet.IHL(small & 15), "TotalLength": packet.TotalLength(int(n)),
			"FragmentOffset": packet.FragmentOffset(int(n)&^7, n&1 == 0), "Proto": packet.Proto(nf.Proto(small)),
			"HeaderChecksum": packet.HeaderChecksum(n), "DataOffset": packet.DataOffset(small & 15), "UDPLength": packet.UDPLength(n),
			"Checksum": packet.Checksum(uint32(n)), "Truncate": packet.Truncate(int(n)),
		} {
			text := packettest.PanicOf(func() { _ = p.With(change).String() })
			if text != "<nil>" && !strings.HasPrefix(text, "packet: ") {
				t.Errorf("%s of %x: panic: %s", name, b, text)
			}
		}
		text := packettest.PanicOf(func() {
			for _, f := range append(p.Fragments(int(n)), p.Fragment(0, 8, true)) {
				_ = f.With().String()
			}
		})
		if text != "<nil>" && !strings.HasPrefix(text, "packet: ") {
			t.Errorf("fragments of %x: panic: %s", b, text)
		}
		_ = p.Quoted().String()
	})
}

// changed checks one change of a packet whose lengths and checksums are right.
func changed(t *testing.T, name string, p packet.Packet, change packet.Change) {
	t.Helper()
	text := packettest.PanicOf(func() {
		before := only(p.Fields(), "checksum", "header checksum")
		for _, f := range only(p.With(change).Fields(), "checksum", "header checksum") {
			if f.Value != "right" && slices.Contains(before, packet.Field{Name: f.Name, Value: "right"}) {
				t.Errorf("%s of %x makes the %s %s", name, []byte(p), f.Name, f.Value)
			}
		}
	})
	if text != "<nil>" && !strings.HasPrefix(text, "packet: ") {
		t.Errorf("%s of %x: panic: %s", name, []byte(p), text)
	}
}

func BenchmarkWith(b *testing.B) {
	p := packet.SYN(web)
	b.ReportAllocs()
	for b.Loop() {
		p.With(packet.SrcPort(7), packet.TTL(3))
	}
}
