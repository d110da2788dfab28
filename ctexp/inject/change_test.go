package inject_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func ExamplePacket_With() {
	syn := inject.SYN(web)
	fmt.Println(syn.With(inject.SrcPort(10001), inject.Window(1000)))
	fmt.Print(inject.Diff(syn, syn.With(inject.TTL(1), inject.Checksum(0xbad))))
	// Output:
	// IP 198.18.0.2.10001 > 192.0.2.1.80: Flags [S], seq 1, win 1000, length 0
	//            | want  | got
	// ≠ ttl      | 64    | 1
	// ≠ checksum | right | 0x0bad, right is 0x006c
}

// unlike are kinds that have the addresses in what they carry as well, or only one of them.
var unlike = []string{
	"unreachable", "too big", "time exceeded", "parameter problem", "redirect", "about a large one", "routing",
	"igmp query", "igmp query of a group", "igmp report", "igmp leave", "igmp v3 report",
}

// A packet sent elsewhere is the one that is built for there: lengths and checksums of all kinds stay right.
func TestAChangedPacketIsTheOneBuiltThatWay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ from, to inject.Flow }{
		{web, inject.Flow{Src: addrPort("10.1.2.3:7"), Dst: addrPort("172.16.255.254:65535")}},
		{web6, inject.Flow{Src: addrPort("[fd00::1]:7"), Dst: addrPort("[fd00:ffff::2]:65535")}},
	} {
		target := kinds(c.to)
		for i, k := range kinds(c.from) {
			if slices.Contains(unlike, k.name) {
				continue
			}
			changes := []inject.Change{inject.Src(c.to.Src.Addr()), inject.Dst(c.to.Dst.Addr())}
			if k.packet.Tuple().Proto.HasPorts() {
				changes = append(changes, inject.SrcPort(c.to.Src.Port()), inject.DstPort(c.to.Dst.Port()))
			}
			if diff := inject.Diff(target[i].packet, k.packet.With(changes...)); diff != "" {
				t.Errorf("%s of %v changed to %v:\n%s", k.name, c.from, c.to, diff)
			}
		}
	}
}

// Each change alone makes what building with it would have made.
func TestEachChangeChangesItsField(t *testing.T) {
	t.Parallel()
	seg := inject.TCP{Flags: inject.FlagACK, Seq: 5, Ack: 6, Window: 7, Payload: []byte("hello")}
	with := func(set func(*inject.TCP)) inject.Packet {
		s := seg
		set(&s)
		return web6.TCP(s)
	}
	options := []layers.TCPOption{inject.MSS(1460), inject.WindowScale(7)}
	src, dst := ends(web)
	for name, c := range map[string]struct {
		from   inject.Packet
		change inject.Change
		want   inject.Packet
	}{
		"Seq":     {web6.TCP(seg), inject.Seq(9), with(func(s *inject.TCP) { s.Seq = 9 })},
		"Ack":     {web6.TCP(seg), inject.Ack(9), with(func(s *inject.TCP) { s.Ack = 9 })},
		"Flags":   {web6.TCP(seg), inject.Flags(inject.FlagSYN), with(func(s *inject.TCP) { s.Flags = inject.FlagSYN })},
		"Window":  {web6.TCP(seg), inject.Window(9), with(func(s *inject.TCP) { s.Window = 9 })},
		"Urgent":  {web6.TCP(seg), inject.Urgent(9), with(func(s *inject.TCP) { s.Urgent = 9 })},
		"Options": {web6.TCP(seg), inject.Options(options...), with(func(s *inject.TCP) { s.Options = options })},
		"no Options": {
			with(func(s *inject.TCP) { s.Options = options }), inject.Options(), web6.TCP(seg),
		},
		"Payload":        {web6.TCP(seg), inject.Payload([]byte("longer")), with(func(s *inject.TCP) { s.Payload = []byte("longer") })},
		"no Payload":     {web.UDP([]byte("hello")), inject.Payload(nil), web.UDP(nil)},
		"more of UDP":    {web.UDP(nil), inject.Payload([]byte("hello")), web.UDP([]byte("hello"))},
		"UDP-Lite":       {web.UDPLite(8, nil), inject.Payload([]byte("hi")), web.UDPLite(0, []byte("hi")).With(inject.UDPLength(10))},
		"SCTP":           {web.SCTP(1, inject.SCTPAbort()), inject.Payload([]byte{11, 0, 0, 4}), web.SCTP(1, inject.SCTPCookieAck())},
		"EchoID":         {inject.Echo(src, dst, 1, 2, nil), inject.EchoID(9), inject.Echo(src, dst, 9, 2, nil)},
		"Seq of an echo": {inject.Echo(src, dst, 1, 2, nil), inject.Seq(9), inject.Echo(src, dst, 1, 9, nil)},
		"ICMPType":       {inject.Echo(src, dst, 1, 2, nil), inject.ICMPType(0, 0), inject.EchoReply(src, dst, 1, 2, nil)},
		"Seq of GRE":     {web.GRE(inject.GRE{Seq: new(uint32(1))}), inject.Seq(2), web.GRE(inject.GRE{Seq: new(uint32(2))})},
		"IPOptions": {
			inject.SYN(web).With(inject.IPOptions(inject.RouterAlert())), inject.IPOptions(), inject.SYN(web),
		},
		"DontFragment":   {inject.SYN(web).With(inject.DontFragment(false)), inject.DontFragment(true), inject.SYN(web)},
		"FragmentOffset": {inject.SYN(web).Fragment(8, 12, false), inject.FragmentOffset(0, true), inject.SYN(web).Fragment(8, 12, false).With(inject.FragmentOffset(0, true))},
	} {
		if diff := inject.Diff(c.want, c.from.With(c.change)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func TestWithLeavesItsReceiverAlone(t *testing.T) {
	t.Parallel()
	for _, k := range append(kinds(web), kinds(web6)...) {
		before := bytes.Clone(k.packet)
		k.packet.With(inject.TTL(1), inject.TOS(4), inject.Payload([]byte("other")), inject.Version(9), inject.Truncate(30))
		if diff := cmp.Diff(before, []byte(k.packet)); diff != "" {
			t.Errorf("%s after With (-want +got):\n%s", k.name, diff)
		}
	}
}

// What was wrong stays as it was, whatever else is changed and in whatever order.
func TestWhatIsWrongOnPurposeStaysWrong(t *testing.T) {
	t.Parallel()
	wrong := []inject.Change{inject.TotalLength(77), inject.HeaderChecksum(1), inject.Checksum(2), inject.UDPLength(3)}
	other := []inject.Change{inject.TTL(1), inject.SrcPort(9), inject.Payload([]byte("longer"))}
	p := web.UDP([]byte("hello"))

	once := p.With(append(slices.Clone(wrong), other...)...)
	twice := p.With(wrong...).With(other...)

	if diff := inject.Diff(once, twice); diff != "" {
		t.Errorf("all in one against one after the other:\n%s", diff)
	}
	want := []inject.Field{
		{"length", "77, there are 34"}, {"header checksum", "0x0001, right is 0xf18a"},
		{"udp length", "3, there are 14"}, {"checksum", "0x0002, right is 0x3725"},
	}
	if diff := cmp.Diff(want, only(once.Fields(), "length", "header checksum", "udp length", "checksum")); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

// So that a wrong length is not dropped for its checksum.
func TestAWrongLengthHasARightChecksumOverIt(t *testing.T) {
	t.Parallel()
	got := map[string]string{}
	for name, c := range map[string]inject.Change{
		"TotalLength": inject.TotalLength(20), "Version": inject.Version(5), "IHL": inject.IHL(6),
		"FragmentOffset": inject.FragmentOffset(65528, true), "Proto": inject.Proto(17),
	} {
		p := inject.SYN(web).With(c)
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
func only(fs []inject.Field, names ...string) []inject.Field {
	return slices.DeleteFunc(fs, func(f inject.Field) bool { return !slices.Contains(names, f.Name) })
}

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// A slip of the programmer is named with the change and the reason.
func TestImpossibleChangesPanic(t *testing.T) {
	t.Parallel()
	syn, echo := inject.SYN(web), inject.Echo(web.Src.Addr(), web.Dst.Addr(), 1, 1, nil)
	later, syn6 := web.UDP(make([]byte, 100)).Fragment(8, 8, false), inject.SYN(web6)
	got := map[string]string{}
	for name, f := range map[string]func() inject.Packet{
		"nothing":                func() inject.Packet { return inject.Packet(nil).With() },
		"version 5":              func() inject.Packet { return syn.With(inject.Version(5)).With() },
		"half a header":          func() inject.Packet { return syn[:10].With() },
		"an empty change":        func() inject.Packet { return syn.With(inject.Change{}) },
		"a port of ICMP":         func() inject.Packet { return echo.With(inject.SrcPort(1)) },
		"a port of a fragment":   func() inject.Packet { return later.With(inject.DstPort(1)) },
		"a port that is cut":     func() inject.Packet { return syn[:22].With(inject.DstPort(1)) },
		"flags of ICMP":          func() inject.Packet { return echo.With(inject.Flags(0)) },
		"a large number of echo": func() inject.Packet { return echo.With(inject.Seq(65536)) },
		"no number":              func() inject.Packet { return web.UDP(nil).With(inject.Seq(1)) },
		"another family":         func() inject.Packet { return syn.With(inject.Src(web6.Src.Addr())) },
		"no address":             func() inject.Packet { return syn6.With(inject.Dst(netip.Addr{})) },
		"too many options":       func() inject.Packet { return syn.With(inject.Options(make([]layers.TCPOption, 41)...)) },
		"an ID without fragment": func() inject.Packet { return syn6.With(inject.ID(1)) },
		"a large ID":             func() inject.Packet { return syn.With(inject.ID(65536)) },
		"hop-by-hop of IPv4":     func() inject.Packet { return syn.With(inject.HopByHop()) },
		"a crooked AH":           func() inject.Packet { return syn6.With(inject.AH(1, 2)) },
		"IHL of IPv6":            func() inject.Packet { return syn6.With(inject.IHL(5)) },
		"a large IHL":            func() inject.Packet { return syn.With(inject.IHL(16)) },
		"a negative length":      func() inject.Packet { return syn6.With(inject.TotalLength(39)) },
		"a crooked offset":       func() inject.Packet { return syn.With(inject.FragmentOffset(9, true)) },
		"a checksum of nothing":  func() inject.Packet { return web.Raw(253, nil).With(inject.Checksum(1)) },
		"a large checksum":       func() inject.Packet { return syn.With(inject.Checksum(1 << 16)) },
		"cut below nothing":      func() inject.Packet { return syn.With(inject.Truncate(-1)) },
		"more than fits":         func() inject.Packet { return syn.With(inject.Payload(make([]byte, 65500))) },
		"more than UDP has":      func() inject.Packet { return web6.UDP(nil).With(inject.Payload(make([]byte, 65530))) },
	} {
		got[name] = panicOf(func() { f() })
	}
	want := map[string]string{
		"nothing":                "inject: With: it is empty",
		"version 5":              "inject: With: its IP version is 5",
		"half a header":          "inject: With: its header is cut after 10 bytes",
		"an empty change":        "inject: With: an empty Change",
		"a port of ICMP":         "inject: SrcPort: ICMP has no ports",
		"a port of a fragment":   "inject: DstPort: there is no transport header: it is a later fragment",
		"a port that is cut":     "inject: DstPort: the TCP header is cut after 2 bytes",
		"flags of ICMP":          "inject: Flags: a packet of ICMP is no TCP segment",
		"a large number of echo": "inject: Seq: 65536 has more than the 16 bits of an echo",
		"no number":              "inject: Seq: this packet of UDP has no sequence number",
		"another family":         "inject: Src: 2001:db8::2 in a packet of the other family",
		"no address":             "inject: Dst: invalid IP in a packet of the other family",
		"too many options":       "inject: Options: 44 bytes of options are more than 40",
		"an ID without fragment": "inject: ID: the packet has no fragment header: make fragments first",
		"a large ID":             "inject: ID: 65536 has more than 16 bits",
		"hop-by-hop of IPv4":     "inject: HopByHop: IPv4 has no extension headers",
		"a crooked AH":           "inject: AH: a header of 12 bytes: want a multiple of 8, up to 2048",
		"IHL of IPv6":            "inject: IHL: IPv6 has none",
		"a large IHL":            "inject: IHL: 16 does not fit: want 0 to 15",
		"a negative length":      "inject: TotalLength: -1 does not fit: want 0 to 65535",
		"a crooked offset":       "inject: FragmentOffset: 9 is no multiple of 8",
		"a checksum of nothing":  "inject: Checksum: this packet of protocol 253 has none",
		"a large checksum":       "inject: Checksum: 0x10000 has more than 16 bits",
		"cut below nothing":      "inject: Truncate: to -1 bytes",
		"more than fits":         "inject: With: length 65540 does not fit into the header",
		"more than UDP has":      "inject: With: a datagram of 65538 bytes is longer than 65535",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("panics (-want +got):\n%s", diff)
	}
}

// FuzzWith checks that whatever is no header of ours to change comes through With as it was, and that a change of the TTL
// changes that and the checksum of the header alone.
func FuzzWith(f *testing.F) {
	for _, k := range append(kinds(web), kinds(web6)...) {
		f.Add([]byte(k.packet), uint8(1))
		f.Add([]byte(k.packet[:len(k.packet)-1]), uint8(255))
	}
	f.Fuzz(func(t *testing.T, b []byte, ttl uint8) {
		p := inject.Packet(b)
		defer func() {
			if r := recover(); r != nil && !strings.HasPrefix(fmt.Sprint(r), "inject: With: ") {
				t.Errorf("%x: panic: %v", b, r)
			}
		}()
		if diff := cmp.Diff(p, p.With()); diff != "" {
			t.Errorf("unchanged (-want +got):\n%s", diff)
		}
		q := p.With(inject.TTL(ttl))
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
		if p.Fields(); inject.Diff(p, q) == "" && !bytes.Equal(p, q) {
			t.Errorf("no difference between %x and %x", p, q)
		}
	})
}

// FuzzChanges checks that no packet makes a change panic otherwise than by its own name, and that changing anything leaves
// right what was right.
func FuzzChanges(f *testing.F) {
	for _, k := range append(kinds(web), kinds(web6)...) {
		f.Add([]byte(k.packet), uint16(7))
	}
	f.Fuzz(func(t *testing.T, b []byte, n uint16) {
		p, small := inject.Packet(b), uint8(n)
		for name, change := range map[string]inject.Change{
			"Src": inject.Src(web.Dst.Addr()), "Dst": inject.Dst(web6.Src.Addr()), "SrcPort": inject.SrcPort(n), "DstPort": inject.DstPort(n),
			"TOS": inject.TOS(small), "FlowLabel": inject.FlowLabel(uint32(n)), "ID": inject.ID(uint32(n)), "DontFragment": inject.DontFragment(n&1 == 0),
			"IPOptions": inject.IPOptions(inject.RouterAlert()), "Seq": inject.Seq(uint32(n)), "Ack": inject.Ack(uint32(n)),
			"Flags": inject.Flags(inject.TCPFlags(n)), "Window": inject.Window(n), "Urgent": inject.Urgent(n), "Options": inject.Options(inject.MSS(n)),
			"ICMPType": inject.ICMPType(small, 0), "EchoID": inject.EchoID(n), "Payload": inject.Payload(b),
			"HopByHop": inject.HopByHop(small), "Routing": inject.Routing(small, 0, 0, 0, 0, 0), "AH": inject.AH(1, 2, 0, 0, 0, 0),
		} {
			changed(t, name, p, change)
		}
		for name, change := range map[string]inject.Change{
			"Version": inject.Version(small & 15), "IHL": inject.IHL(small & 15), "TotalLength": inject.TotalLength(int(n)),
			"FragmentOffset": inject.FragmentOffset(int(n)&^7, n&1 == 0), "Proto": inject.Proto(nf.Proto(small)),
			"HeaderChecksum": inject.HeaderChecksum(n), "DataOffset": inject.DataOffset(small & 15), "UDPLength": inject.UDPLength(n),
			"Checksum": inject.Checksum(uint32(n)), "Truncate": inject.Truncate(int(n)),
		} {
			text := panicOf(func() { _ = p.With(change).String() })
			if text != "<nil>" && !strings.HasPrefix(text, "inject: ") {
				t.Errorf("%s of %x: panic: %s", name, b, text)
			}
		}
		text := panicOf(func() {
			for _, f := range append(p.Fragments(int(n)), p.Fragment(0, 8, true)) {
				_ = f.With().String()
			}
		})
		if text != "<nil>" && !strings.HasPrefix(text, "inject: ") {
			t.Errorf("fragments of %x: panic: %s", b, text)
		}
		_ = p.Quoted().String()
	})
}

// changed checks one change of what is right.
func changed(t *testing.T, name string, p inject.Packet, change inject.Change) {
	t.Helper()
	text := panicOf(func() {
		before := only(p.Fields(), "checksum", "header checksum")
		for _, f := range only(p.With(change).Fields(), "checksum", "header checksum") {
			if f.Value != "right" && slices.Contains(before, inject.Field{Name: f.Name, Value: "right"}) {
				t.Errorf("%s of %x makes the %s %s", name, []byte(p), f.Name, f.Value)
			}
		}
	})
	if text != "<nil>" && !strings.HasPrefix(text, "inject: ") {
		t.Errorf("%s of %x: panic: %s", name, []byte(p), text)
	}
}

func BenchmarkWith(b *testing.B) {
	p := inject.SYN(web)
	b.ReportAllocs()
	for b.Loop() {
		p.With(inject.SrcPort(7), inject.TTL(3))
	}
}
