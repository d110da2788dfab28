package packet_test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/golden"
	"github.com/ctexp/go-ctexp/internal/packettest"
)

// The packet of every constructor has right checksums, and its bytes and line are those of the golden file.
func TestPacketsAreTheSameBytesEachTime(t *testing.T) {
	t.Parallel()
	mss := []packet.TCPOption{{Kind: packet.OptionMSS, Data: []byte{5, 180}}}
	ping := func(f packet.Flow, build func(src, dst netip.Addr, id, seq uint16, payload []byte) packet.Packet) packet.Packet {
		return build(f.Src.Addr(), f.Dst.Addr(), 1, 2, []byte("ping!"))
	}
	for name, f := range map[string]packet.Flow{"ipv4": web, "ipv6": web6} {
		var w strings.Builder
		for _, p := range []packet.Packet{
			packet.SYN(f), packet.SYNACK(f.Reverse()), packet.ACK(f), packet.FIN(f), packet.RST(f),
			f.TCP(packet.TCP{
				Flags: packet.FlagPSH | packet.FlagACK, Seq: 2, Ack: 2, Window: 512, Options: mss, Payload: []byte("hello"),
			}),
			f.UDP(nil), f.UDP([]byte("hello")), ping(f, packet.Echo), ping(f.Reverse(), packet.EchoReply),
		} {
			if err := packettest.CheckSums(p); err != nil {
				t.Errorf("%v: %v", p, err)
			}
			fmt.Fprintf(&w, "%v\n%s\n", p, hex.Dump(p))
		}
		golden.Check(t, name+".golden", w.String())
	}
}

func TestAPacketCutAnywhereHasALineAndATuple(t *testing.T) {
	t.Parallel()
	p := packet.SYN(web)
	got := []nf.Tuple{p[:10].Tuple(), p[:20].Tuple(), p.Tuple()}
	want := []nf.Tuple{
		{},
		{Proto: nf.TCP, Src: netip.AddrPortFrom(web.Src.Addr(), 0), Dst: netip.AddrPortFrom(web.Dst.Addr(), 0)},
		{Proto: nf.TCP, Src: web.Src, Dst: web.Dst},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Errorf("tuples of a SYN of 10, 20 and 40 bytes (-want +got):\n%s", diff)
	}
}

func ExamplePacket() {
	p := packet.SYN(web)
	fmt.Println(p)
	fmt.Println(p.Tuple())
	// Output:
	// IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0
	// src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80
}

func ExampleDecode() {
	d := packet.Decode(packet.SYN(web))
	fmt.Println(d.Layer(layers.LayerTypeTCP).(*layers.TCP).SYN)
	// Output: true
}

// FuzzPacket checks that any bytes can be printed and decoded, and have a tuple.
func FuzzPacket(f *testing.F) {
	for _, p := range []packet.Packet{
		nil, packet.SYN(web), packet.SYN(web6), web.UDP([]byte("hello")), web6.UDP(nil),
		packet.Echo(web.Src.Addr(), web.Dst.Addr(), 1, 1, nil), packet.Echo(web6.Src.Addr(), web6.Dst.Addr(), 1, 1, nil),
	} {
		f.Add([]byte(p))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p := packet.Packet(b)
		d, tuple := packet.Decode(p), p.Tuple()
		if p.String() == "" {
			t.Errorf("%x has no line", b)
		}
		if d.NetworkLayer() == nil && tuple != (nf.Tuple{}) {
			t.Errorf("%x has the tuple %v and no network layer", b, tuple)
		}
	})
}

var (
	web, web6 = packettest.Web, packettest.Web6

	mixed = packet.Flow{Src: web.Src, Dst: web6.Dst}
)

func ExampleFlow() {
	web := packet.Flow{
		Src: netip.MustParseAddrPort("198.18.0.2:10000"),
		Dst: netip.MustParseAddrPort("192.0.2.1:80"),
	}
	fmt.Println(web)
	fmt.Println(web.Reverse())
	fmt.Println(web.Nth(5))
	// Output:
	// 198.18.0.2:10000 > 192.0.2.1:80
	// 192.0.2.1:80 > 198.18.0.2:10000
	// 198.18.0.2:10005 > 192.0.2.1:80
}

func TestTheTupleOfAPacketIsItsFlow(t *testing.T) {
	t.Parallel()
	for _, f := range []packet.Flow{web, web6} {
		tuple := f.UDP(nil).Tuple()
		got := packet.Flow{Src: tuple.Src, Dst: tuple.Dst}
		if diff := cmp.Diff(f, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
			t.Errorf("flow (-want +got):\n%s", diff)
		}
	}
}

func TestMappedAddressesAreIPv4(t *testing.T) {
	t.Parallel()
	f := packet.Flow{Src: netip.MustParseAddrPort("[::ffff:198.18.0.2]:10000"), Dst: web.Dst}
	if diff := cmp.Diff(packet.SYN(web), packet.SYN(f)); diff != "" {
		t.Errorf("SYN from %v (-want +got):\n%s", f, diff)
	}
}

// An impossible argument panics in the call, not while the sequence is sent.
func TestWrongCallsPanicInTheNameOfThePackage(t *testing.T) {
	t.Parallel()
	huge := make([]byte, 1<<16)
	calls := map[string]func(){
		"no addresses":       func() { packet.SYN(packet.Flow{}) },
		"mixed families":     func() { packet.SYN(mixed) },
		"mixed in sequence":  func() { packet.SYNs(1, mixed) },
		"mixed echo":         func() { packet.Echo(web.Src.Addr(), web6.Dst.Addr(), 1, 1, nil) },
		"negative number":    func() { web.Nth(-1) },
		"port overflow":      func() { web.Nth(55536) },
		"overflow in SYNs":   func() { packet.SYNs(55537, web) },
		"negative SYNs":      func() { packet.SYNs(-1, web) },
		"negative Repeat":    func() { packet.Repeat(-1, packet.SYN(web)) },
		"payload too large":  func() { web.UDP(huge) },
		"IPv6 payload, too":  func() { web6.UDP(huge) },
		"echo too large":     func() { packet.Echo(web.Src.Addr(), web.Dst.Addr(), 1, 1, huge) },
		"nil within another": func() { packet.Concat(nil) },
	}
	got := map[string]string{}
	for name, call := range calls {
		got[name] = packettest.PanicOf(call)
	}
	want := map[string]string{
		"no addresses":       "packet: no packet from invalid IP to invalid IP: both addresses are needed",
		"mixed families":     "packet: no packet from 198.18.0.2 to 2001:db8::1: one is IPv4, one IPv6",
		"mixed in sequence":  "packet: no packet from 198.18.0.2 to 2001:db8::1: one is IPv4, one IPv6",
		"mixed echo":         "packet: no packet from 198.18.0.2 to 2001:db8::1: one is IPv4, one IPv6",
		"negative number":    "packet: flow number -1 is negative",
		"port overflow":      "packet: source port 10000 + 55536 is beyond 65535",
		"overflow in SYNs":   "packet: source port 10000 + 55536 is beyond 65535",
		"negative SYNs":      "packet: negative count -1",
		"negative Repeat":    "packet: negative count -1",
		"payload too large":  "packet: build packet: layer 0 (IPv4): length of 65564 bytes is more than 65535",
		"IPv6 payload, too":  "packet: build packet: layer 0 (IPv6): payload of 65544 bytes is longer than 65535",
		"echo too large":     "packet: build packet: layer 0 (IPv4): length of 65564 bytes is more than 65535",
		"nil within another": "packet: Concat of a nil sequence",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("panics (-want +got):\n%s", diff)
	}
}

// A flow of a protocol has the tuple of its packets.
func TestTupleOfAFlowIsThatOfItsPackets(t *testing.T) {
	t.Parallel()
	for p, pkt := range map[nf.Proto]packet.Packet{nf.TCP: packet.SYN(web), nf.UDP: web6.UDP(nil)} {
		flow := map[nf.Proto]packet.Flow{nf.TCP: web, nf.UDP: web6}[p]
		if got := flow.Tuple(p); got != pkt.Tuple() {
			t.Errorf("%v: %v, want %v", p, got, pkt.Tuple())
		}
	}
}

func ExampleSYNs() {
	for p := range packet.SYNs(3, web) {
		fmt.Println(p)
	}
	// Output:
	// IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0
	// IP 198.18.0.2.10001 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0
	// IP 198.18.0.2.10002 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0
}

// Each makes sequences of any kind of packet.
func ExampleFlow_Each() {
	greet := func(f packet.Flow) packet.Packet { return f.UDP(fmt.Appendf(nil, "hello from %v", f.Src)) }
	for p := range web.Each(2, greet) {
		fmt.Printf("%s\n", []byte(p[28:]))
	}
	// Output:
	// hello from 198.18.0.2:10000
	// hello from 198.18.0.2:10001
}

func TestSequencesYieldFreshPacketsEachTime(t *testing.T) {
	t.Parallel()
	syn := packet.SYN(web)
	seq := packet.Concat(
		packet.SYNs(2, web), packet.ACKs(1, web), packet.UDPs(1, web6), packet.Packets(syn, nil), packet.Repeat(2, syn),
		packet.SYNs(0, packet.Flow{}), packet.Concat(),
	)
	want := []packet.Packet{
		packet.SYN(web), packet.SYN(web.Nth(1)), packet.ACK(web), web6.UDP(nil), packet.SYN(web), nil,
		packet.SYN(web), packet.SYN(web),
	}
	for _, p := range slices.Collect(seq) {
		clear(p) // what a receiver does with its packets is its own affair
	}

	got := slices.Collect(seq)

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("packets of the second pass (-want +got):\n%s", diff)
	}
}

func TestSequencesStopWhenAsked(t *testing.T) {
	t.Parallel()
	syn := packet.SYN(web)
	got := 0
	for _, seq := range []func(func(packet.Packet) bool){
		packet.SYNs(5, web), packet.Packets(syn, syn), packet.Repeat(2, syn), packet.Concat(packet.SYNs(2, web), packet.SYNs(2, web)),
	} {
		for range seq {
			got++
			break
		}
	}
	if got != 4 {
		t.Errorf("%d packets from 4 sequences left at the first", got)
	}
}

// The last port can be used.
func TestSYNsMayUseEveryPort(t *testing.T) {
	t.Parallel()
	var last packet.Packet
	for p := range packet.SYNs(36, web.Nth(55500)) {
		last = p
	}
	if got := last.Tuple().Src.Port(); got != 65535 {
		t.Errorf("the last source port is %d, want 65535", got)
	}
}

func TestChecksumErrorNamesTheWrongOne(t *testing.T) {
	t.Parallel()
	syn, udp, udp6 := packet.SYN(web), web.UDP([]byte("data")), web6.UDP([]byte("data"))
	right := func(of packet.Packet, at int) string { return fmt.Sprintf("%#x", binary.BigEndian.Uint16(of[at:])) }
	for name, c := range map[string]struct {
		packet packet.Packet
		want   string
	}{
		"right":                {syn, ""},
		"TCP":                  {syn.With(packet.Checksum(0xffff)), "wrong for tcp: 0xffff, want " + right(syn, 36)},
		"the IPv4 header":      {syn.With(packet.HeaderChecksum(1)), "wrong in the IPv4 header"},
		"UDP":                  {udp.With(packet.Checksum(1)), "wrong for udp: 0x1, want " + right(udp, 26)},
		"UDP without one":      {udp.With(packet.Checksum(0)), ""},
		"UDP, IPv6, without":   {udp6.With(packet.Checksum(0)), "wrong for udp: 0x0, want " + right(udp6, 46)},
		"TCP without one":      {syn.With(packet.Checksum(0)), "wrong for tcp: 0x0, want " + right(syn, 36)},
		"a protocol without":   {web.Raw(253, nil), ""},
		"a fragment":           {udp.With(packet.Checksum(1)).Fragment(0, 8, true), ""},
		"the largest checksum": {udp.With(packet.Checksum(65535)), "wrong for udp: 0xffff, want " + right(udp, 26)},
		"no packet":            {nil, ""},
	} {
		got := ""
		if err := c.packet.ChecksumError(); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestDirectionsPrintThemselves(t *testing.T) {
	t.Parallel()
	for d, want := range map[packet.Dir]string{0: "", packet.In: "In", packet.Out: "Out", 3: "Dir(3)"} {
		if got := d.String(); got != want {
			t.Errorf("%d: %q, want %q", uint8(d), got, want)
		}
	}
}
