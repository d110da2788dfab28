package inject_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func ExampleWant() {
	synack := inject.Want{Src: web.Dst, Flags: inject.FlagSYN | inject.FlagACK, Ack: new(uint32(2))}
	fmt.Println(synack.Match(inject.SYNACK(web.Reverse())))
	fmt.Println(synack.Match(inject.SYN(web)))
	// Output:
	// true
	// false
}

// Each field of a Want makes a difference, and the zero Want none.
func TestEachFieldOfAWantTellsPacketsApart(t *testing.T) {
	t.Parallel()
	segment := web.TCP(inject.TCP{
		Flags: inject.FlagACK, Seq: 10, Ack: 20, Window: 30, Payload: []byte("data"),
		Options: []layers.TCPOption{inject.NOP(), inject.NOP(), inject.Timestamps(1, 2)},
	})
	router := netip.MustParseAddr("192.0.2.254")
	tooBig := inject.PacketTooBig(router, 576, segment)
	redirect := inject.Redirect(router, router.Prev(), segment)
	for name, c := range map[string]struct {
		packet    inject.Packet
		fits, not inject.Want
	}{
		"proto":   {segment, inject.Want{Proto: nf.TCP}, inject.Want{Proto: nf.UDP}},
		"src":     {segment, inject.Want{Src: web.Src}, inject.Want{Src: web.Dst}},
		"address": {segment, inject.Want{Dst: netip.AddrPortFrom(web.Dst.Addr(), 0)}, inject.Want{Dst: netip.AddrPortFrom(router, 0)}},
		"port":    {segment, inject.Want{Dst: netip.AddrPortFrom(netip.Addr{}, 80)}, inject.Want{Dst: netip.AddrPortFrom(netip.Addr{}, 81)}},
		"ttl":     {segment, inject.Want{TTL: new(uint8(64))}, inject.Want{TTL: new(uint8(63))}},
		"tos":     {segment.With(inject.TOS(8)), inject.Want{TOS: new(uint8(8))}, inject.Want{TOS: new(uint8(0))}},
		"flags":   {segment, inject.Want{Flags: inject.FlagACK}, inject.Want{Flags: inject.FlagACK | inject.FlagPSH}},
		"seq":     {segment, inject.Want{Seq: new(uint32(10))}, inject.Want{Seq: new(uint32(0))}},
		"ack":     {segment, inject.Want{Ack: new(uint32(20))}, inject.Want{Ack: new(uint32(0))}},
		"window":  {segment, inject.Want{Window: new(uint16(30))}, inject.Want{Window: new(uint16(0))}},
		"option": {
			segment, inject.Want{Options: []layers.TCPOption{inject.Timestamps(1, 2)}},
			inject.Want{Options: []layers.TCPOption{inject.Timestamps(1, 3)}},
		},
		"no option":    {segment, inject.Want{}, inject.Want{Options: []layers.TCPOption{inject.MSS(1)}}},
		"payload":      {segment, inject.Want{Payload: []byte("data")}, inject.Want{Payload: []byte{}}},
		"icmp type":    {tooBig, inject.Want{ICMPType: new(uint8(3))}, inject.Want{ICMPType: new(uint8(0))}},
		"icmp code":    {tooBig, inject.Want{ICMPType: new(uint8(3)), ICMPCode: new(uint8(4))}, inject.Want{ICMPType: new(uint8(3)), ICMPCode: new(uint8(0))}},
		"no icmp":      {segment, inject.Want{}, inject.Want{ICMPType: new(uint8(0))}},
		"icmp id":      {inject.Echo(web.Src.Addr(), router, 7, 1, nil), inject.Want{ICMPID: new(uint16(7))}, inject.Want{ICMPID: new(uint16(8))}},
		"no id":        {tooBig, inject.Want{}, inject.Want{ICMPID: new(uint16(0))}},
		"mtu":          {tooBig, inject.Want{MTU: new(uint32(576))}, inject.Want{MTU: new(uint32(577))}},
		"mtu of none":  {segment, inject.Want{}, inject.Want{MTU: new(uint32(0))}},
		"gateway":      {redirect, inject.Want{Gateway: router.Prev()}, inject.Want{Gateway: router}},
		"about":        {tooBig, inject.Want{About: &inject.Want{Src: web.Src, Proto: nf.TCP}}, inject.Want{About: &inject.Want{Src: web.Dst}}},
		"redirect 6":   {inject.Redirect(web6.Dst.Addr(), web6.Dst.Addr(), inject.SYN(web6)), inject.Want{About: &inject.Want{Dst: web6.Dst}}, inject.Want{About: &inject.Want{Dst: web6.Src}}},
		"about none":   {segment, inject.Want{}, inject.Want{About: &inject.Want{}}},
		"exactly":      {segment, inject.Want{Exactly: segment}, inject.Want{Exactly: segment.With(inject.TTL(63))}},
		"checksum":     {segment.With(inject.Checksum(1)), inject.Want{AnyChecksum: true}, inject.Want{}},
		"header sum":   {segment.With(inject.HeaderChecksum(1)), inject.Want{AnyChecksum: true}, inject.Want{}},
		"no checksum":  {web.UDP(nil).With(inject.Checksum(0)), inject.Want{}, inject.Want{Proto: nf.TCP}},
		"is":           {segment, inject.Want{Is: func(inject.Packet) error { return nil }}, inject.Want{Is: func(inject.Packet) error { return errors.New("x") }}},
		"hop limit":    {inject.SYN(web6), inject.Want{TTL: new(uint8(64))}, inject.Want{TTL: new(uint8(63))}},
		"too big of 6": {inject.PacketTooBig(web6.Dst.Addr(), 1280, inject.SYN(web6)), inject.Want{MTU: new(uint32(1280))}, inject.Want{MTU: new(uint32(4))}},
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
	w := inject.Want{
		Out: "tun1", Src: web.Dst, Flags: inject.FlagSYN | inject.FlagACK, Ack: new(uint32(2)),
		Payload: []byte{}, About: &inject.Want{Proto: nf.UDP},
	}
	want := []inject.Row{
		{"out", "tun1", "tun0", true},
		{"src", "192.0.2.1:80", "192.0.2.1:80", false},
		{"flags", "[S.]", "[.]", true},
		{"ack", "2", "2", false},
		{"payload", `"" (0 bytes)`, `"" (0 bytes)`, false},
		{"about", "a packet", "none", true},
	}
	got := w.Compare(inject.Arrival{Out: "tun0", Packet: inject.ACK(web.Reverse())})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Of a packet that should be another byte for byte, the rows are the fields that differ.
func TestCompareOfAWholePacketHasItsFields(t *testing.T) {
	t.Parallel()
	sent := inject.SYN(web)
	got := inject.Want{Exactly: sent.With(inject.TTL(63))}.Compare(inject.Arrival{Packet: sent.With(inject.SrcPort(1))})
	want := []inject.Row{{"ttl", "63", "64", true}, {"src port", "10000", "1", true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A quote that is cut is compared as far as it goes.
func TestQuotesAreComparedAsFarAsTheyGo(t *testing.T) {
	t.Parallel()
	sent := web.UDP(bytes.Repeat([]byte("x"), 1000))
	router := netip.MustParseAddr("192.0.2.254")
	whole, least := inject.TimeExceeded(router, sent), inject.TimeExceeded(router, sent[:28])
	for name, c := range map[string]struct {
		about inject.Packet
		error inject.Packet
		fits  bool
	}{
		"as Linux does":       {sent, whole, true},
		"the least":           {sent, least, true},
		"less than the least": {sent, inject.TimeExceeded(router, sent[:27]), false},
		"another":             {sent.With(inject.TTL(1)), whole, false},
		"shorter":             {sent.With(inject.Payload(nil)), whole, false},
	} {
		if got := (inject.Want{About: &inject.Want{Exactly: c.about}}).Match(c.error); got != c.fits {
			t.Errorf("%s: it fits: %v, want %v", name, got, c.fits)
		}
	}
	got := inject.Want{About: &inject.Want{Exactly: sent.With(inject.TTL(1))}}.Compare(inject.Arrival{Packet: whole})
	want := []inject.Row{{"about ttl", "1", "64", true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Of long payloads a row shows the place where they begin to differ.
func TestRowsShowWherePayloadsDiffer(t *testing.T) {
	t.Parallel()
	long := bytes.Repeat([]byte("0123456789"), 20)
	other := append(bytes.Clone(long[:150]), "other"...)
	got := inject.Want{Payload: long}.Compare(inject.Arrival{Packet: web.UDP(other)})
	want := []inject.Row{{
		"payload", `@142 …"234567890123456789012345678901234567890123456789"… (200 bytes)`, `@142 …"23456789other" (155 bytes)`, true,
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Whatever comes by a link can be compared with whatever is wanted.
func FuzzWant(f *testing.F) {
	quoting := inject.PacketTooBig(web.Dst.Addr(), 576, inject.SYN(web))
	for _, p := range []inject.Packet{
		nil, inject.SYN(web), inject.SYN(web6), quoting, web.UDP([]byte("x")), inject.Echo(web6.Src.Addr(), web6.Dst.Addr(), 1, 2, nil),
		inject.Redirect(web6.Dst.Addr(), web6.Dst.Addr(), inject.SYN(web6)),
	} {
		f.Add([]byte(p), uint16(len(p)/2), uint8(255))
	}
	f.Fuzz(func(t *testing.T, p []byte, at uint16, b byte) {
		if len(p) > 0 {
			p[int(at)%len(p)] = b
		}
		w := inject.Want{
			Out: "tun0", Proto: nf.TCP, Src: web.Src, Dst: web.Dst, TTL: new(uint8), TOS: new(uint8), Flags: 1, Seq: new(uint32), Ack: new(uint32),
			Window: new(uint16), Options: []layers.TCPOption{inject.MSS(1)}, ICMPType: new(uint8), ICMPCode: new(uint8), ICMPID: new(uint16), MTU: new(uint32), Gateway: web.Src.Addr(),
			Payload: []byte{1}, About: &inject.Want{About: &inject.Want{Flags: 1}, Payload: []byte{}},
		}
		if w.Match(p) {
			t.Errorf("%x is TCP, and a redirect", p)
		}
	})
}
