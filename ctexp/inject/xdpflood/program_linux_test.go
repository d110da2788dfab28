package xdpflood_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// came returns what came in by the first link while a flood was sent.
func came(t *testing.T, env *netnsenv.Env, f inject.Flood) (packets []packet.Packet) {
	t.Helper()
	const whole = 32 << 20 // the ring holds the whole flood: the kernel may make it before this process runs again
	o, err := observe.Open(t.Context(), env, observe.Config{Ring: whole, NoEvents: true})
	needs.Check(t, err)
	defer o.Close()
	if done := send(t, env, f); done.Sent != f.N || done.Arrived != f.N {
		t.Errorf("%v, want %d", done, f.N)
	}
	for frame, err := range o.Frames(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if frame.Dir == packet.In && frame.Link == env.Links()[0].Name() {
			packets = append(packets, frame.Packet)
		}
	}
	return packets
}

// compare looks whether what came are the packets of the flood, in their order.
func compare(t *testing.T, f inject.Flood, got []packet.Packet) {
	t.Helper()
	if len(got) != f.N {
		t.Fatalf("%d packets, want %d", len(got), f.N)
	}
	i := 0
	for want := range f.Packets() {
		if !slices.Equal(want, got[i]) {
			t.Fatalf("packet %d (-want +got):\n%s", i, packet.Diff(want, got[i]))
		}
		i++
	}
}

// The kernel makes the same packets as a Flood by a socket has, byte for byte, whatever varies.
func TestTheKernelMakesTheSamePackets(t *testing.T) {
	t.Parallel()
	id := packet.Echo(web.Src.Addr(), web.Dst.Addr(), 65_000, 1, []byte("odd"))
	id6 := packet.Echo(web6.Src.Addr(), web6.Dst.Addr(), 0, 1, nil)
	noSum := packet.Packet(web.UDP([]byte("odd"))).With(packet.Checksum(0))
	random := []inject.Vary{
		{Field: inject.VarySrcPort, Count: 50_000, Random: true, Seed: 7}, {Field: inject.VarySrc, Count: 1 << 20, Stride: 3, Random: true},
	}
	for name, f := range map[string]inject.Flood{
		"nothing":              {Template: packet.SYN(web)},
		"a port":               {Template: packet.SYN(web), Vary: []inject.Vary{ports(50_000)}},
		"one value":            {Template: packet.SYN(web), Vary: []inject.Vary{ports(1)}},
		"ports and addresses":  {Template: web.UDP([]byte("odd")), Vary: []inject.Vary{ports(7), {Field: inject.VarySrc, Count: 5, Stride: 260}, {Field: inject.VaryDstPort, Count: 3, Stride: 10_000}, {Field: inject.VaryDst, Count: 2}}},
		"in step":              {Template: web.UDP(nil), Vary: []inject.Vary{ports(7), {Field: inject.VaryDstPort, InStep: true, Stride: 9}}},
		"at random":            {Template: packet.SYN(web), Vary: random},
		"IPv6 at random":       {Template: packet.SYN(web6), Vary: []inject.Vary{{Field: inject.VarySrc, Count: 1 << 32, Random: true}}},
		"IPv6 across a carry":  {Template: packet.SYN(web6), Vary: []inject.Vary{{Field: inject.VarySrc, Count: 9}, ports(3)}},
		"a large stride":       {Template: web6.UDP([]byte("odd")), Vary: []inject.Vary{{Field: inject.VarySrc, Count: 3, Stride: 1 << 61}}},
		"identifier":           {Template: id, Vary: []inject.Vary{{Field: inject.VaryID, Count: 500}, {Field: inject.VarySrc, Count: 3}}},
		"identifier of ICMPv6": {Template: id6, Vary: []inject.Vary{{Field: inject.VaryID, Count: 65_536}, {Field: inject.VarySrc, Count: 3}}},
		"no checksum":          {Template: noSum, Vary: []inject.Vary{ports(500)}},
		"a wrong checksum":     {Template: packet.SYN(web).With(packet.Checksum(7)), Vary: []inject.Vary{ports(500)}},
		"a checksum of zero":   {Template: web.UDP(nil), Vary: []inject.Vary{ports(50_000), {Field: inject.VaryDst, Count: 2}}, N: 65_000},
		"a wrong header":       {Template: packet.SYN(web).With(packet.HeaderChecksum(7)), Vary: []inject.Vary{{Field: inject.VarySrc, Count: 50}}},
		"SCTP as it is":        {Template: web.SCTP(0, packet.SCTPInit(1, 100))},
		"a long packet":        {Template: web.UDP([]byte(fmt.Sprintf("%1471d", 7))), Vary: []inject.Vary{ports(500)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if f.N == 0 {
				f.N = 1000
			}
			compare(t, f, came(t, open(t, netnsenv.Config{Silent: true}), f))
		})
	}
}

// The kernel uses the pages of packets again. What a router and its rules have written there does not come back.
func TestWhatTheHostHasWrittenDoesNotComeBack(t *testing.T) {
	t.Parallel()
	env := open(t, netnsenv.Config{
		Links: []netnsenv.LinkConfig{
			{Kind: netnsenv.Veth, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}},
			{Kind: netnsenv.Veth, Prefixes: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/24")}},
		},
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
		Rules: []netnsenv.Ruleset{netnsenv.NFT(`table ip user {
			chain nat { type nat hook postrouting priority 100; masquerade; }
			chain mangle { type filter hook forward priority -150; ip dscp set ef; @th,64,32 set 0xdeadbeef; }
		}`)},
	})
	out := web
	out.Dst = netip.MustParseAddrPort("203.0.113.9:53")
	f := inject.Flood{Template: out.UDP([]byte("hello, world")), N: 20_000, Vary: []inject.Vary{ports(100)}}
	compare(t, f, came(t, env, f))
}
