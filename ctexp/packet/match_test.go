package packet_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/packettest"
)

func ExampleMatch() {
	synack := packet.Match{Src: web.Dst, Flags: packet.FlagSYN | packet.FlagACK, Ack: new(uint32(2))}
	fmt.Println(synack.Match(packet.SYNACK(web.Reverse()).On("tun0", packet.Out)))
	fmt.Println(synack.Match(packet.SYN(web).On("tun0", packet.In)))
	// Output:
	// true
	// false
}

// Each field of a Match selects, and Compare agrees with Match.
func TestEachFieldOfAMatchTellsPacketsApart(t *testing.T) {
	t.Parallel()
	segment := web.TCP(packet.TCP{
		Flags: packet.FlagACK, Seq: 10, Ack: 20, Window: 30, Payload: []byte("data"),
		Options: []packet.TCPOption{packet.NOP(), packet.NOP(), packet.Timestamps(1, 2)},
	})
	router := netip.MustParseAddr("192.0.2.254")
	tooBig := packet.PacketTooBig(router, 576, segment)
	redirect := packet.Redirect(router, router.Prev(), segment)
	for name, c := range map[string]struct {
		packet    packet.Packet
		fits, not packet.Match
	}{
		"proto":   {segment, packet.Match{Proto: nf.TCP}, packet.Match{Proto: nf.UDP}},
		"src":     {segment, packet.Match{Src: web.Src}, packet.Match{Src: web.Dst}},
		"address": {segment, packet.Match{Dst: netip.AddrPortFrom(web.Dst.Addr(), 0)}, packet.Match{Dst: netip.AddrPortFrom(router, 0)}},
		"port":    {segment, packet.Match{Dst: netip.AddrPortFrom(netip.Addr{}, 80)}, packet.Match{Dst: netip.AddrPortFrom(netip.Addr{}, 81)}},
		"ttl":     {segment, packet.Match{TTL: new(uint8(64))}, packet.Match{TTL: new(uint8(63))}},
		"tos":     {segment.With(packet.TOS(8)), packet.Match{TOS: new(uint8(8))}, packet.Match{TOS: new(uint8(0))}},
		"flags":   {segment, packet.Match{Flags: packet.FlagACK}, packet.Match{Flags: packet.FlagACK | packet.FlagPSH}},
		"seq":     {segment, packet.Match{Seq: new(uint32(10))}, packet.Match{Seq: new(uint32(0))}},
		"ack":     {segment, packet.Match{Ack: new(uint32(20))}, packet.Match{Ack: new(uint32(0))}},
		"window":  {segment, packet.Match{Window: new(uint16(30))}, packet.Match{Window: new(uint16(0))}},
		"option": {
			segment, packet.Match{Options: []packet.TCPOption{packet.Timestamps(1, 2)}},
			packet.Match{Options: []packet.TCPOption{packet.Timestamps(1, 3)}},
		},
		"no option":    {segment, packet.Match{}, packet.Match{Options: []packet.TCPOption{packet.MSS(1)}}},
		"payload":      {segment, packet.Match{Payload: []byte("data")}, packet.Match{Payload: []byte{}}},
		"icmp type":    {tooBig, packet.Match{ICMPType: new(uint8(3))}, packet.Match{ICMPType: new(uint8(0))}},
		"icmp code":    {tooBig, packet.Match{ICMPType: new(uint8(3)), ICMPCode: new(uint8(4))}, packet.Match{ICMPType: new(uint8(3)), ICMPCode: new(uint8(0))}},
		"no icmp":      {segment, packet.Match{}, packet.Match{ICMPType: new(uint8(0))}},
		"icmp id":      {packet.Echo(web.Src.Addr(), router, 7, 1, nil), packet.Match{ICMPID: new(uint16(7))}, packet.Match{ICMPID: new(uint16(8))}},
		"no id":        {tooBig, packet.Match{}, packet.Match{ICMPID: new(uint16(0))}},
		"mtu":          {tooBig, packet.Match{MTU: new(uint32(576))}, packet.Match{MTU: new(uint32(577))}},
		"bare mtu":     {tooBig[:28], packet.Match{MTU: new(uint32(576))}, packet.Match{MTU: new(uint32(577))}},
		"mtu of none":  {segment, packet.Match{}, packet.Match{MTU: new(uint32(0))}},
		"gateway":      {redirect, packet.Match{Gateway: router.Prev()}, packet.Match{Gateway: router}},
		"about":        {tooBig, packet.Match{About: &packet.Match{Src: web.Src, Proto: nf.TCP}}, packet.Match{About: &packet.Match{Src: web.Dst}}},
		"redirect 6":   {packet.Redirect(web6.Dst.Addr(), web6.Dst.Addr(), packet.SYN(web6)), packet.Match{About: &packet.Match{Dst: web6.Dst}}, packet.Match{About: &packet.Match{Dst: web6.Src}}},
		"about none":   {segment, packet.Match{}, packet.Match{About: &packet.Match{}}},
		"exactly":      {segment, packet.Match{Exactly: segment}, packet.Match{Exactly: segment.With(packet.TTL(63))}},
		"checksum":     {segment.With(packet.Checksum(1)), packet.Match{}, packet.Match{Proto: nf.UDP}},
		"header sum":   {segment.With(packet.HeaderChecksum(1)), packet.Match{}, packet.Match{Proto: nf.UDP}},
		"no ack":       {packet.SYN(web), packet.Match{}, packet.Match{Ack: new(uint32(0))}},
		"mask":         {segment, packet.Match{Flags: packet.FlagACK, FlagsMask: packet.FlagACK | packet.FlagSYN}, packet.Match{FlagsMask: packet.FlagACK}},
		"no flags":     {web.TCP(packet.TCP{}), packet.Match{FlagsMask: 0xff}, packet.Match{Flags: packet.FlagFIN}},
		"no segment":   {web.UDP(nil), packet.Match{}, packet.Match{FlagsMask: 0xff}},
		"network":      {segment, packet.Match{SrcNet: netip.MustParsePrefix("198.18.0.0/15")}, packet.Match{DstNet: netip.MustParsePrefix("198.18.0.0/15")}},
		"network of 6": {packet.SYN(web6), packet.Match{DstNet: netip.MustParsePrefix("2001:db8::/64")}, packet.Match{SrcNet: netip.MustParsePrefix("198.18.0.0/15")}},
		"no port":      {packet.Echo(web.Src.Addr(), router, 1, 2, nil), packet.Match{}, packet.Match{Dst: netip.AddrPortFrom(netip.Addr{}, 80)}},
		"nothing":      {nil, packet.Match{}, packet.Match{Proto: nf.TCP}},
		"cut":          {packet.SYN(web)[:10], packet.Match{}, packet.Match{Proto: nf.TCP}},
		"contains":     {segment, packet.Match{Contains: "at"}, packet.Match{Contains: "tad"}},
		"in what":      {web.Raw(50, []byte("sealed")), packet.Match{Contains: "seal", Payload: []byte("sealed")}, packet.Match{Contains: "open"}},
		"tuple":        {segment, packet.Match{Tuple: web.Tuple(nf.TCP)}, packet.Match{Tuple: web.Tuple(nf.UDP)}},
		"no checksum":  {web.UDP(nil).With(packet.Checksum(0)), packet.Match{}, packet.Match{Proto: nf.TCP}},
		"is":           {segment, packet.Match{Is: func(packet.Packet) error { return nil }}, packet.Match{Is: func(packet.Packet) error { return errors.New("x") }}},
		"hop limit":    {packet.SYN(web6), packet.Match{TTL: new(uint8(64))}, packet.Match{TTL: new(uint8(63))}},
		"too big of 6": {packet.PacketTooBig(web6.Dst.Addr(), 1280, packet.SYN(web6)), packet.Match{MTU: new(uint32(1280))}, packet.Match{MTU: new(uint32(4))}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := [2]bool{c.fits.Match(c.packet.On("", 0)), c.not.Match(c.packet.On("", 0))}
			if want := [2]bool{true, false}; got != want {
				t.Errorf("%v: the one that fits and the one that does not: got %v, want %v", c.packet, got, want)
			}
			rows := [2]bool{c.fits.Compare(c.packet.On("", 0)).Differing() == 0, c.not.Compare(c.packet.On("", 0)).Differing() == 0}
			if rows != got {
				t.Errorf("%v: Compare says %v, Match says %v", c.packet, rows, got)
			}
		})
	}
}

// A comparison has a row for each field that is set, and no others.
func TestCompareHasARowForWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	w := packet.Match{
		Out: "tun1", Src: web.Dst, Flags: packet.FlagSYN | packet.FlagACK, Ack: new(uint32(2)),
		Payload: []byte{}, About: &packet.Match{Proto: nf.UDP}, DstMAC: nf.MAC{2, 0, 0, 0, 0, 1},
	}
	want := packet.Rows{
		{"out", "tun1", "tun0", true},
		{"dst mac", "02:00:00:00:00:01", "00:00:00:00:00:00", true},
		{"src", "192.0.2.1:80", "192.0.2.1:80", false},
		{"flags", "[S.]", "[.]", true},
		{"ack", "2", "2", false},
		{"payload", `"" (0 bytes)`, `"" (0 bytes)`, false},
		{"about", "a packet", "none", true},
	}
	got := w.Compare(packet.ACK(web.Reverse()).On("tun0", packet.Out))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Without a packet, a Match has a row for each field that is set, with nothing beside it.
func TestWantedHasNothingToCompareWith(t *testing.T) {
	t.Parallel()
	m := packet.Match{
		Out: "tun1", Flags: packet.FlagSYN, Exactly: packet.SYN(web), Is: func(packet.Packet) error { return nil },
		About: &packet.Match{Proto: nf.UDP},
	}
	want := packet.Rows{
		{"out", "tun1", "", true},
		{"flags", "[S]", "", true},
		{"about", "a packet", "", true},
		{"about proto", "udp", "", true},
		{"packet", packet.SYN(web).String(), "", true},
		{"is", "as it should be", "", true},
	}
	if diff := cmp.Diff(want, m.Wanted()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// With Exactly, the rows are the fields that differ.
func TestCompareOfAWholePacketHasItsFields(t *testing.T) {
	t.Parallel()
	sent := packet.SYN(web)
	got := packet.Match{Exactly: sent.With(packet.TTL(63))}.Compare(sent.With(packet.SrcPort(1)).On("", 0))
	want := packet.Rows{{"ttl", "63", "64", true}, {"src port", "10000", "1", true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A truncated quote is compared as far as it goes.
func TestQuotesAreComparedAsFarAsTheyGo(t *testing.T) {
	t.Parallel()
	sent := web.UDP(bytes.Repeat([]byte("x"), 1000))
	router := netip.MustParseAddr("192.0.2.254")
	whole, least := packet.TimeExceeded(router, sent), packet.TimeExceeded(router, sent[:28])
	for name, c := range map[string]struct {
		about packet.Packet
		error packet.Packet
		fits  bool
	}{
		"as Linux does":       {sent, whole, true},
		"the least":           {sent, least, true},
		"less than the least": {sent, packet.TimeExceeded(router, sent[:27]), false},
		"another":             {sent.With(packet.TTL(1)), whole, false},
		"shorter":             {sent.With(packet.Payload(nil)), whole, false},
	} {
		if got := (packet.Match{About: &packet.Match{Exactly: c.about}}).Match(c.error.On("", 0)); got != c.fits {
			t.Errorf("%s: it fits: %v, want %v", name, got, c.fits)
		}
	}
	for payload, fits := range map[string]bool{"xxx": true, "xyz": false} {
		about := &packet.Match{Payload: []byte(payload)}
		for n, want := range map[int]bool{0: true, 1: true, 2: fits, 3: fits, 4: false} {
			cut := packet.TimeExceeded(router, sent[:28+n])
			if got := (packet.Match{About: about}).Match(cut.On("", 0)); got != want {
				t.Errorf("%d bytes of xxx… fit %q: %v, want %v", n, payload, got, want)
			}
		}
	}
	got := packet.Match{About: &packet.Match{Exactly: sent.With(packet.TTL(1))}}.Compare(whole.On("", 0))
	want := packet.Rows{{"about ttl", "1", "64", true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// The row of a long payload shows where the difference begins.
func TestRowsShowWherePayloadsDiffer(t *testing.T) {
	t.Parallel()
	long := bytes.Repeat([]byte("0123456789"), 20)
	other := append(bytes.Clone(long[:150]), "other"...)
	got := packet.Match{Payload: long}.Compare(web.UDP(other).On("", 0))
	want := packet.Rows{{
		"payload", `@142 …"234567890123456789012345678901234567890123456789"… (200 bytes)`, `@142 …"23456789other" (155 bytes)`, true,
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Any bytes can be compared with any Match.
func FuzzMatch(f *testing.F) {
	quoting := packet.PacketTooBig(web.Dst.Addr(), 576, packet.SYN(web))
	for _, p := range []packet.Packet{
		nil, packet.SYN(web), packet.SYN(web6), quoting, web.UDP([]byte("x")), packet.Echo(web6.Src.Addr(), web6.Dst.Addr(), 1, 2, nil),
		packet.Redirect(web6.Dst.Addr(), web6.Dst.Addr(), packet.SYN(web6)),
	} {
		f.Add([]byte(p), uint16(len(p)/2), uint8(255))
	}
	f.Fuzz(func(t *testing.T, p []byte, at uint16, b byte) {
		if len(p) > 0 {
			p[int(at)%len(p)] = b
		}
		w := packet.Match{
			Out: "tun0", Proto: nf.TCP, Src: web.Src, Dst: web.Dst, TTL: new(uint8), TOS: new(uint8), Flags: 1, Seq: new(uint32), Ack: new(uint32),
			Window: new(uint16), Options: []packet.TCPOption{packet.MSS(1)}, ICMPType: new(uint8), ICMPCode: new(uint8), ICMPID: new(uint16), MTU: new(uint32), Gateway: web.Src.Addr(),
			Payload: []byte{1}, About: &packet.Match{About: &packet.Match{Flags: 1}, Payload: []byte{}},
		}
		if w.Match(packet.Packet(p).On("tun0", packet.Out)) {
			t.Errorf("%x is TCP, and a redirect", p)
		}
	})
}

// conversation are records of many kinds.
var conversation = []packet.Record{
	packet.SYN(web).On("tun0", packet.In),
	packet.SYNACK(web.Reverse()).On("tun0", packet.Out),
	packet.SYNACK(web.Reverse()).On("tun1", packet.Out),
	web.TCP(packet.TCP{Flags: packet.FlagPSH | packet.FlagACK, Seq: 2, Ack: 2, Payload: []byte("GET /")}).On("tun0", packet.In),
	web.Reverse().TCP(packet.TCP{}).On("tun0", packet.Out),
	web.UDP([]byte("hello")).On("tun0", packet.In),
	packet.Unreachable(web.Dst.Addr(), 3, web.UDP([]byte("hello"))[:28]).On("tun0", packet.Out),
	packet.Echo(web.Src.Addr(), web.Dst.Addr(), 7, 1, nil).On("tun0", packet.In),
	{Link: "veth0", Dir: packet.In, EtherType: packet.EtherTypeARP, Packet: make([]byte, 28)},
	{
		Link: "veth0", Dir: packet.In, EtherType: packet.EtherTypeIPv4, Packet: packet.SYN(web),
		Ethernet: []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0, 0x20, 7, 8, 0},
	},
}

// Some record left by tun0 that is SYN+ACK to port 10000.
func ExampleMatch_Select() {
	records := conversation
	synack := packet.Match{Out: "tun0", Dst: netip.AddrPortFrom(netip.Addr{}, 10000), Flags: packet.FlagSYN | packet.FlagACK}
	fmt.Println(synack)
	for _, r := range synack.Select(records) {
		fmt.Println(r)
	}
	// Output:
	// out tun0, dst port 10000, flags [S.]
	// tun0 Out IP 192.0.2.1.80 > 198.18.0.2.10000: Flags [S.], seq 1, ack 2, win 65535, length 0
}

func TestEveryFieldOfAMatchMustAgree(t *testing.T) {
	t.Parallel()
	const syn, ack = packet.FlagSYN, packet.FlagACK
	var got, want strings.Builder
	for _, c := range []struct {
		match packet.Match
		want  string
	}{
		{packet.Match{}, "any packet: 0 1 2 3 4 5 6 7 8 9"},
		{packet.Match{In: "tun0"}, "in tun0: 0 3 5 7"},
		{packet.Match{Out: "tun0"}, "out tun0: 1 4 6"},
		{packet.Match{In: "veth0"}, "in veth0: 8 9"},
		{packet.Match{SrcNet: netip.MustParsePrefix("192.0.2.0/24")}, "src 192.0.2.0/24: 1 2 4 6"},
		{packet.Match{Proto: nf.TCP, Dst: netip.AddrPortFrom(netip.Addr{}, 80)}, "proto tcp, dst port 80: 0 3 9"},
		{packet.Match{Flags: syn}, "flags [S]: 0 9"},
		{packet.Match{Flags: syn | ack}, "flags [S.]: 1 2"},
		{packet.Match{FlagsMask: 0xff}, "flags [none]: 4"},
		{packet.Match{Flags: packet.FlagFIN}, "flags [F]:"},
		{packet.Match{Flags: ack, FlagsMask: ack}, "flags [.]: 1 2 3"},
		{packet.Match{Out: "tun1", Flags: syn | ack}, "out tun1, flags [S.]: 2"},
		{packet.Match{Tuple: web.Tuple(nf.TCP)}, "tuple tcp src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80: 0 3 9"},
		{packet.Match{Tuple: conversation[7].Tuple()}, "tuple icmp src=198.18.0.2 dst=192.0.2.1 type=8 code=0 id=7: 7"},
		{packet.Match{About: &packet.Match{Tuple: web.Tuple(nf.UDP)}}, "about a packet, about tuple udp src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80: 6"},
		{packet.Match{Contains: "ET"}, `contains "ET": 3`},
		{packet.Match{Contains: "hello"}, `contains "hello": 5`},
		{packet.Match{EtherType: packet.EtherTypeARP}, "ether type 0x0806: 8"},
		{packet.Match{VLAN: 7, SrcMAC: nf.MAC{2, 0, 0, 0, 0, 2}}, "src mac 02:00:00:00:00:02, vlan 7: 9"},
		{packet.Match{DstMAC: nf.MAC{2, 0, 0, 0, 0, 2}}, "dst mac 02:00:00:00:00:02:"},
		{packet.Match{VLAN: 8}, "vlan 8:"},
	} {
		fmt.Fprintf(&got, "%v:", c.match)
		for i, r := range conversation {
			if c.match.Match(r) {
				fmt.Fprintf(&got, " %d", i)
			}
		}
		got.WriteString("\n")
		want.WriteString(c.want + "\n")
	}
	if diff := cmp.Diff(want.String(), got.String()); diff != "" {
		t.Errorf("match: records (-want +got):\n%s", diff)
	}
}

// A Match that no packet can match would make every expectation of nothing succeed.
func TestAMatchThatMeansNothingPanics(t *testing.T) {
	t.Parallel()
	const quoted = "packet: Match.About has a link or an Ethernet field: a quoted packet has neither"
	for name, c := range map[string]struct {
		match packet.Match
		want  string
	}{
		"in and out":    {packet.Match{In: "tun0", Out: "tun1"}, "packet: Match has both In tun0 and Out tun1: a packet has one direction"},
		"quoted link":   {packet.Match{About: &packet.Match{In: "tun0"}}, quoted},
		"quoted header": {packet.Match{About: &packet.Match{About: &packet.Match{VLAN: 7}}}, quoted},
	} {
		if got := packettest.PanicOf(func() { c.match.Match(packet.Record{}) }); got != c.want {
			t.Errorf("%s: panic %q, want %q", name, got, c.want)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	m := packet.Match{Out: "tun0", Proto: nf.TCP, Dst: netip.AddrPortFrom(netip.Addr{}, 10000), Flags: packet.FlagSYN | packet.FlagACK}
	for b.Loop() {
		if !m.Match(conversation[1]) {
			b.Fatal("no match")
		}
	}
}

func TestFamilyOfAMatch(t *testing.T) {
	t.Parallel()
	v6 := netip.MustParseAddrPort("[2001:db8::1]:80")
	for name, c := range map[string]struct {
		match packet.Match
		want  nf.Family
	}{
		"any":       {packet.Match{Flags: packet.FlagSYN}, 0},
		"source":    {packet.Match{Src: v6}, nf.IPv6},
		"a port":    {packet.Match{Dst: netip.AddrPortFrom(netip.Addr{}, 80)}, 0},
		"network":   {packet.Match{DstNet: netip.MustParsePrefix("192.0.2.0/24")}, nf.IPv4},
		"mapped":    {packet.Match{Src: netip.MustParseAddrPort("[::ffff:192.0.2.1]:80")}, nf.IPv4},
		"tuple":     {packet.Match{Tuple: nf.Tuple{Proto: nf.TCP, Src: v6, Dst: v6}}, nf.IPv6},
		"ICMP":      {packet.Match{Proto: nf.ICMP}, nf.IPv4},
		"ICMPv6":    {packet.Match{Tuple: nf.Tuple{Proto: nf.ICMPv6}}, nf.IPv6},
		"exactly":   {packet.Match{Exactly: packet.SYN(packet.Flow{Src: v6, Dst: v6})}, nf.IPv6},
		"EtherType": {packet.Match{EtherType: packet.EtherTypeIPv6}, nf.IPv6},
		"ARP":       {packet.Match{EtherType: packet.EtherTypeARP}, 0},
	} {
		if got := c.match.Family(); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
