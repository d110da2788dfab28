package packet_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/packettest"
)

func ExampleEcho() {
	fmt.Println(packet.Echo(netip.MustParseAddr("198.18.0.2"), netip.MustParseAddr("192.0.2.1"), 7, 1, []byte("hello")))
	fmt.Println(packet.Echo(netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("2001:db8::1"), 7, 1, nil))
	// Output:
	// IP 198.18.0.2 > 192.0.2.1: ICMP echo request, id 7, seq 1, length 13
	// IP6 2001:db8::2 > 2001:db8::1: ICMP6, echo request, id 7, seq 1, length 8
}

func TestAnEchoReplyHasTheReverseTuple(t *testing.T) {
	t.Parallel()
	for _, f := range []packet.Flow{web, web6} {
		src, dst := f.Src.Addr(), f.Dst.Addr()
		want := packet.Echo(src, dst, 7, 1, nil).Tuple().Reverse()

		got := packet.EchoReply(dst, src, 7, 1, nil).Tuple()

		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(nf.Tuple{})); diff != "" {
			t.Errorf("tuple of the reply (-want +got):\n%s", diff)
		}
	}
}

func ExamplePacketTooBig() {
	router := netip.MustParseAddr("203.0.113.1")
	fmt.Println(packet.PacketTooBig(router, 1280, packet.SYN(web)))
	// Output: IP 203.0.113.1 > 198.18.0.2: ICMP fragmentation needed, mtu 1280 for (IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0), length 48
}

func TestICMPErrorsGoBackAndQuote(t *testing.T) {
	t.Parallel()
	var got, want []string
	for _, f := range []packet.Flow{web, web6} {
		syn, large := packet.SYN(f), f.UDP(make([]byte, 1400))
		from := f.Dst.Addr()
		for _, p := range []packet.Packet{
			packet.Unreachable(from, layers.ICMPv4CodePort, syn), packet.PacketTooBig(from, 1280, syn), packet.TimeExceeded(from, syn),
			packet.ParameterProblem(from, 6, syn), packet.Redirect(from, from, f.UDP(make([]byte, 8))),
		} {
			if err := packettest.CheckSums(p); err != nil {
				t.Errorf("%v: %v", p, err)
			}
			got = append(got, fmt.Sprint(p.Tuple().Src.Addr(), " ", p.Tuple().Dst.Addr(), " ", p.Quoted()))
			about := syn
			if p.Quoted().Tuple().Proto != syn.Tuple().Proto {
				about = f.UDP(make([]byte, 8))
			}
			want = append(want, fmt.Sprint(f.Dst.Addr(), " ", f.Src.Addr(), " ", about))
		}
		got = append(got, fmt.Sprint(len(packet.Unreachable(from, 0, large)), len(packet.Redirect(from, from, large))))
	}
	want = append(want[:5:5], append([]string{"576 576"}, want[5:]...)...)
	want = append(want, "1280 1280")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}

func TestWhatIsNoErrorQuotesNothing(t *testing.T) {
	t.Parallel()
	unreachable := packet.Unreachable(web.Dst.Addr(), 1, packet.SYN(web))
	for name, p := range map[string]packet.Packet{
		"nothing": nil, "TCP": packet.SYN(web), "echo": packet.Echo(web.Src.Addr(), web.Dst.Addr(), 1, 2, []byte("hello")),
		"a cut header": unreachable[:24], "a later fragment": unreachable.Fragment(8, 8, false),
	} {
		if q := p.Quoted(); q != nil {
			t.Errorf("%s: quotes %v", name, q)
		}
	}
}

func TestAMappedGroupIsOneOfIPv4(t *testing.T) {
	t.Parallel()
	group := netip.MustParseAddr("224.1.2.3")
	want, got := packet.IGMP(web.Src.Addr(), packet.IGMPReport, group), packet.IGMP(web.Src.Addr(), packet.IGMPReport, netip.AddrFrom16(group.As16()))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestImpossibleErrorsPanic(t *testing.T) {
	t.Parallel()
	got := map[string]string{
		"about nothing":      packettest.PanicOf(func() { packet.TimeExceeded(web.Dst.Addr(), nil) }),
		"from another one":   packettest.PanicOf(func() { packet.TimeExceeded(web6.Dst.Addr(), packet.SYN(web)) }),
		"a large MTU":        packettest.PanicOf(func() { packet.PacketTooBig(web.Dst.Addr(), 65536, packet.SYN(web)) }),
		"to another gateway": packettest.PanicOf(func() { packet.Redirect(web.Dst.Addr(), web6.Dst.Addr(), packet.SYN(web)) }),
		"IGMP of IPv6":       packettest.PanicOf(func() { packet.IGMP(web6.Src.Addr(), packet.IGMPQuery, web.Src.Addr()) }),
		"an empty DATA":      packettest.PanicOf(func() { packet.SCTPData(1, 0, 0, nil) }),
		"a large chunk":      packettest.PanicOf(func() { web.SCTP(1, packet.SCTPCookieEcho(make([]byte, 65532))) }),
		"49 bits":            packettest.PanicOf(func() { web.DCCP(packet.DCCP{Seq: 1 << 48}) }),
		"large options":      packettest.PanicOf(func() { web.DCCP(packet.DCCP{Options: make([]byte, 1024)}) }),
		"half a coverage":    packettest.PanicOf(func() { web.UDPLite(7, nil) }),
		"a large coverage":   packettest.PanicOf(func() { web.UDPLite(9, nil) }),
	}
	want := map[string]string{
		"about nothing":      "packet: ICMP error about empty packet: no complete IP header",
		"from another one":   "packet: no packet from 2001:db8::1 to 198.18.0.2: one is IPv4, one IPv6",
		"a large MTU":        "packet: PacketTooBig: an MTU of 65536 in the 16 bits of IPv4",
		"to another gateway": "packet: Redirect to 2001:db8::1 about " + packet.SYN(web).String(),
		"IGMP of IPv6":       "packet: IGMP from 2001:db8::2 about 198.18.0.2: both must be IPv4; IPv6 uses ICMPv6 instead",
		"an empty DATA":      "packet: SCTP DATA chunk without data",
		"a large chunk":      "packet: SCTP chunk longer than 65535 bytes",
		"49 bits":            "packet: DCCP numbers 281474976710656 and 0: want at most 48 bits",
		"large options":      "packet: a DCCP header of 1044 bytes is longer than 1020",
		"half a coverage":    "packet: a coverage of 7 bytes in a datagram of 8",
		"a large coverage":   "packet: a coverage of 9 bytes in a datagram of 8",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("panics (-want +got):\n%s", diff)
	}
}
