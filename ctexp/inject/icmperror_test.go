package inject_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/inject"
)

func ExamplePacketTooBig() {
	router := netip.MustParseAddr("203.0.113.1")
	fmt.Println(inject.PacketTooBig(router, 1280, inject.SYN(web)))
	// Output: IP 203.0.113.1 > 198.18.0.2: ICMP fragmentation needed, mtu 1280 for (IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0), length 48
}

func TestICMPErrorsGoBackAndQuote(t *testing.T) {
	t.Parallel()
	var got, want []string
	for _, f := range []inject.Flow{web, web6} {
		syn, large := inject.SYN(f), f.UDP(make([]byte, 1400))
		from := f.Dst.Addr()
		for _, p := range []inject.Packet{
			inject.Unreachable(from, layers.ICMPv4CodePort, syn), inject.PacketTooBig(from, 1280, syn), inject.TimeExceeded(from, syn),
			inject.ParameterProblem(from, 6, syn), inject.Redirect(from, from, f.UDP(make([]byte, 8))),
		} {
			if err := checkSums(p); err != nil {
				t.Errorf("%v: %v", p, err)
			}
			got = append(got, fmt.Sprint(p.Tuple().Src.Addr(), " ", p.Tuple().Dst.Addr(), " ", p.Quoted()))
			about := syn
			if p.Quoted().Tuple().Proto != syn.Tuple().Proto {
				about = f.UDP(make([]byte, 8))
			}
			want = append(want, fmt.Sprint(f.Dst.Addr(), " ", f.Src.Addr(), " ", about))
		}
		got = append(got, fmt.Sprint(len(inject.Unreachable(from, 0, large)), len(inject.Redirect(from, from, large))))
	}
	want = append(want[:5:5], append([]string{"576 576"}, want[5:]...)...)
	want = append(want, "1280 1280")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}

func TestWhatIsNoErrorQuotesNothing(t *testing.T) {
	t.Parallel()
	unreachable := inject.Unreachable(web.Dst.Addr(), 1, inject.SYN(web))
	for name, p := range map[string]inject.Packet{
		"nothing": nil, "TCP": inject.SYN(web), "echo": inject.Echo(web.Src.Addr(), web.Dst.Addr(), 1, 2, []byte("hello")),
		"a cut header": unreachable[:24], "a later fragment": unreachable.Fragment(8, 8, false),
	} {
		if q := p.Quoted(); q != nil {
			t.Errorf("%s: quotes %v", name, q)
		}
	}
}

func TestImpossibleErrorsPanic(t *testing.T) {
	t.Parallel()
	got := map[string]string{
		"about nothing":      panicOf(func() { inject.TimeExceeded(web.Dst.Addr(), nil) }),
		"from another one":   panicOf(func() { inject.TimeExceeded(web6.Dst.Addr(), inject.SYN(web)) }),
		"a large MTU":        panicOf(func() { inject.PacketTooBig(web.Dst.Addr(), 65536, inject.SYN(web)) }),
		"to another gateway": panicOf(func() { inject.Redirect(web.Dst.Addr(), web6.Dst.Addr(), inject.SYN(web)) }),
		"IGMP of IPv6":       panicOf(func() { inject.IGMP(web6.Src.Addr(), inject.IGMPQuery, web.Src.Addr()) }),
		"an empty DATA":      panicOf(func() { inject.SCTPData(1, 0, 0, nil) }),
		"a large chunk":      panicOf(func() { web.SCTP(1, inject.SCTPCookieEcho(make([]byte, 65532))) }),
		"49 bits":            panicOf(func() { web.DCCP(inject.DCCP{Seq: 1 << 48}) }),
		"large options":      panicOf(func() { web.DCCP(inject.DCCP{Options: make([]byte, 1024)}) }),
		"half a coverage":    panicOf(func() { web.UDPLite(7, nil) }),
		"a large coverage":   panicOf(func() { web.UDPLite(9, nil) }),
	}
	want := map[string]string{
		"about nothing":      "inject: an ICMP error about empty packet",
		"from another one":   "inject: no packet from 2001:db8::1 to 198.18.0.2: one is IPv4, one IPv6",
		"a large MTU":        "inject: PacketTooBig: an MTU of 65536 in the 16 bits of IPv4",
		"to another gateway": "inject: Redirect to 2001:db8::1 about " + inject.SYN(web).String(),
		"IGMP of IPv6":       "inject: IGMP from 2001:db8::2 about 198.18.0.2: it is of IPv4; IPv6 has ICMPv6 for that",
		"an empty DATA":      "inject: an SCTP DATA chunk without data",
		"a large chunk":      "inject: an SCTP chunk is longer than 65535 bytes",
		"49 bits":            "inject: DCCP numbers 281474976710656 and 0: 48 bits at most",
		"large options":      "inject: a DCCP header of 1044 bytes is longer than 1020",
		"half a coverage":    "inject: a coverage of 7 bytes in a datagram of 8",
		"a large coverage":   "inject: a coverage of 9 bytes in a datagram of 8",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("panics (-want +got):\n%s", diff)
	}
}
