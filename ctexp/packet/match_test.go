package packet_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func ExampleWant() {
	synack := packet.Want{Src: web.Dst, Flags: packet.FlagSYN | packet.FlagACK, Ack: new(uint32(2))}
	fmt.Println(synack.Match(packet.SYNACK(web.Reverse())))
	fmt.Println(synack.Match(packet.SYN(web)))
	// Output:
	// true
	// false
}

// Each field of a Want makes a difference, and the zero Want none.
func TestEachFieldOfAWantTellsPacketsApart(t *testing.T) {
	t.Parallel()
	segment := web.TCP(packet.TCP{
		Flags: packet.FlagACK, Seq: 10, Ack: 20, Window: 30, Payload: []byte("data"),
		Options: []layers.TCPOption{packet.NOP(), packet.NOP(), packet.Timestamps(1, 2)},
	})
	router := netip.MustParseAddr("192.0.2.254")
	tooBig := packet.PacketTooBig(router, 576, segment)
	redirect := packet.Redirect(router, router.Prev(), segment)
	for name, c := range map[string]struct {
		packet    packet.Packet
		fits, not packet.Want
	}{
		"proto":   {segment, packet.Want{Proto: nf.TCP}, packet.Want{Proto: nf.UDP}},
		"src":     {segment, packet.Want{Src: web.Src}, packet.Want{Src: web.Dst}},
		"address": {segment, packet.Want{Dst: netip.AddrPortFrom(web.Dst.Addr(), 0)}, packet.Want{Dst: netip.AddrPortFrom(router, 0)}},
		"port":    {segment, packet.Want{Dst: netip.AddrPortFrom(netip.Addr{}, 80)}, packet.Want{Dst: netip.AddrPortFrom(netip.Addr{}, 81)}},
		"ttl":     {segment, packet.Want{TTL: new(uint8(64))}, packet.Want{TTL: new(uint8(63))}},
		"tos":     {segment.With(packet.TOS(8)), packet.Want{TOS: new(uint8(8))}, packet.Want{TOS: new(uint8(0))}},
		"flags":   {segment, packet.Want{Flags: packet.FlagACK}, packet.Want{Flags: packet.FlagACK | packet.FlagPSH}},
		"seq":     {segment, packet.Want{Seq: new(uint32(10))}, packet.Want{Seq: new(uint32(0))}},
		"ack":     {segment, packet.Want{Ack: new(uint32(20))}, packet.Want{Ack: new(uint32(0))}},
		"window":  {segment, packet.Want{Window: new(uint16(30))}, packet.Want{Window: new(uint16(0))}},
		"option": {
			segment, packet.Want{Options: []layers.TCPOption{packet.Timestamps(1, 2)}},
			packet.Want{Options: []layers.TCPOption{packet.Timestamps(1, 3)}},
		},
		"no option":    {segment, packet.Want{}, packet.Want{Options: []layers.TCPOption{packet.MSS(1)}}},
		"payload":      {segment, packet.Want{Payload: []byte("data")}, packet.Want{Payload: []byte{}}},
		"icmp type":    {tooBig, packet.Want{ICMPType: new(uint8(3))}, packet.Want{ICMPType: new(uint8(0))}},
		"icmp code":    {tooBig, packet.Want{ICMPType: new(uint8(3)), ICMPCode: new(uint8(4))}, packet.Want{ICMPType: new(uint8(3)), ICMPCode: new(uint8(0))}},
		"no icmp":      {segment, packet.Want{}, packet.Want{ICMPType: new(uint8(0))}},
		"icmp id":      {packet.Echo(web.Src.Addr(), router, 7, 1, nil), packet.Want{ICMPID: new(uint16(7))}, packet.Want{ICMPID: new(uint16(8))}},
		"no id":        {tooBig, packet.Want{}, packet.Want{ICMPID: new(uint16(0))}},
		"mtu":          {tooBig, packet.Want{MTU: new(uint32(576))}, packet.Want{MTU: new(uint32(577))}},
		"mtu of none":  {segment, packet.Want{}, packet.Want{MTU: new(uint32(0))}},
		"gateway":      {redirect, packet.Want{Gateway: router.Prev()}, packet.Want{Gateway: router}},
		"about":        {tooBig, packet.Want{About: &packet.Want{Src: web.Src, Proto: nf.TCP}}, packet.Want{About: &packet.Want{Src: web.Dst}}},
		"redirect 6":   {packet.Redirect(web6.Dst.Addr(), web6.Dst.Addr(), packet.SYN(web6)), packet.Want{About: &packet.Want{Dst: web6.Dst}}, packet.Want{About: &packet.Want{Dst: web6.Src}}},
		"about none":   {segment, packet.Want{}, packet.Want{About: &packet.Want{}}},
		"exactly":      {segment, packet.Want{Exactly: segment}, packet.Want{Exactly: segment.With(packet.TTL(63))}},
		"checksum":     {segment.With(packet.Checksum(1)), packet.Want{AnyChecksum: true}, packet.Want{}},
		"header sum":   {segment.With(packet.HeaderChecksum(1)), packet.Want{AnyChecksum: true}, packet.Want{}},
		"no checksum":  {web.UDP(nil).With(packet.Checksum(0)), packet.Want{}, packet.Want{Proto: nf.TCP}},
		"is":           {segment, packet.Want{Is: func(packet.Packet) error { return nil }}, packet.Want{Is: func(packet.Packet) error { return errors.New("x") }}},
		"hop limit":    {packet.SYN(web6), packet.Want{TTL: new(uint8(64))}, packet.Want{TTL: new(uint8(63))}},
		"too big of 6": {packet.PacketTooBig(web6.Dst.Addr(), 1280, packet.SYN(web6)), packet.Want{MTU: new(uint32(1280))}, packet.Want{MTU: new(uint32(4))}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := [2]bool{c.fits.Match(c.packet), c.not.Match(c.packet)}
			if want := [2]bool{true, false}; got != want {
				t.Errorf("%v: the one that fits and the one that does not: got %v, want %v", c.packet, got, want)
			}
		})
	}
}

// A comparison has a row for what was asked for, and nothing else.
func TestCompareHasARowForWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	w := packet.Want{
		Out: "tun1", Src: web.Dst, Flags: packet.FlagSYN | packet.FlagACK, Ack: new(uint32(2)),
		Payload: []byte{}, About: &packet.Want{Proto: nf.UDP},
	}
	want := []packet.Row{
		{"out", "tun1", "tun0", true},
		{"src", "192.0.2.1:80", "192.0.2.1:80", false},
		{"flags", "[S.]", "[.]", true},
		{"ack", "2", "2", false},
		{"payload", `"" (0 bytes)`, `"" (0 bytes)`, false},
		{"about", "a packet", "none", true},
	}
	got := w.Compare(packet.Arrival{Out: "tun0", Packet: packet.ACK(web.Reverse())})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Of a packet that should be another byte for byte, the rows are the fields that differ.
func TestCompareOfAWholePacketHasItsFields(t *testing.T) {
	t.Parallel()
	sent := packet.SYN(web)
	got := packet.Want{Exactly: sent.With(packet.TTL(63))}.Compare(packet.Arrival{Packet: sent.With(packet.SrcPort(1))})
	want := []packet.Row{{"ttl", "63", "64", true}, {"src port", "10000", "1", true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A quote that is cut is compared as far as it goes.
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
		if got := (packet.Want{About: &packet.Want{Exactly: c.about}}).Match(c.error); got != c.fits {
			t.Errorf("%s: it fits: %v, want %v", name, got, c.fits)
		}
	}
	got := packet.Want{About: &packet.Want{Exactly: sent.With(packet.TTL(1))}}.Compare(packet.Arrival{Packet: whole})
	want := []packet.Row{{"about ttl", "1", "64", true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Of long payloads a row shows the place where they begin to differ.
func TestRowsShowWherePayloadsDiffer(t *testing.T) {
	t.Parallel()
	long := bytes.Repeat([]byte("0123456789"), 20)
	other := append(bytes.Clone(long[:150]), "other"...)
	got := packet.Want{Payload: long}.Compare(packet.Arrival{Packet: web.UDP(other)})
	want := []packet.Row{{
		"payload", `@142 …"234567890123456789012345678901234567890123456789"… (200 bytes)`, `@142 …"23456789other" (155 bytes)`, true,
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Whatever comes by a link can be compared with whatever is wanted.
func FuzzWant(f *testing.F) {
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
		w := packet.Want{
			Out: "tun0", Proto: nf.TCP, Src: web.Src, Dst: web.Dst, TTL: new(uint8), TOS: new(uint8), Flags: 1, Seq: new(uint32), Ack: new(uint32),
			Window: new(uint16), Options: []layers.TCPOption{packet.MSS(1)}, ICMPType: new(uint8), ICMPCode: new(uint8), ICMPID: new(uint16), MTU: new(uint32), Gateway: web.Src.Addr(),
			Payload: []byte{1}, About: &packet.Want{About: &packet.Want{Flags: 1}, Payload: []byte{}},
		}
		if w.Match(p) {
			t.Errorf("%x is TCP, and a redirect", p)
		}
	})
}
