package nf_test

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// A line of conntrack -L becomes a value, and a line again that can be compared with others.
func ExampleParseEntry() {
	e, err := nf.ParseEntry("tcp      6 431999 ESTABLISHED src=10.0.0.2 dst=198.51.100.7 sport=4000 dport=443 src=198.51.100.7 dst=192.0.2.1 sport=443 dport=4000 [ASSURED] mark=0 use=1")
	fmt.Println(err, e.State, e.Timeout, e.Orig.Src)
	fmt.Println(e.NAT())
	fmt.Println(e)
	// Output:
	// <nil> ESTABLISHED 119h59m59s 10.0.0.2:4000
	// src 10.0.0.2:4000 to 192.0.2.1:4000
	// tcp ESTABLISHED src=10.0.0.2 dst=198.51.100.7 sport=4000 dport=443 src=198.51.100.7 dst=192.0.2.1 sport=443 dport=4000 [ASSURED]
}

// What people paste has prompts and lines that cannot be read; the others are read all the same.
func ExampleParseListing() {
	l, err := nf.ParseListing(`$ sudo conntrack -L
udp      17 29 src=198.18.0.2 dst=192.0.2.1 sport=1 dport=2 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=2 dport=1 use=1
udp      17 29 src=198.18.0.2 dst=192.0.2.1 sport=x
`)
	fmt.Println(len(l.Entries), l.Entries[0])
	fmt.Println(err)
	// Output:
	// 1 udp src=198.18.0.2 dst=192.0.2.1 sport=1 dport=2 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=2 dport=1
	// line 3, column 45: "sport=x" is not a valid 16-bit number
}

// The entries of a port, of a network, in a state.
func ExampleFilter() {
	entries := []nf.Entry{
		{Orig: nf.Tuple{Proto: nf.TCP, Src: netip.MustParseAddrPort("10.0.0.2:4000"), Dst: netip.MustParseAddrPort("198.51.100.7:443")}, State: nf.Established},
		{Orig: nf.Tuple{Proto: nf.UDP, Src: netip.MustParseAddrPort("10.0.0.3:4000"), Dst: netip.MustParseAddrPort("198.51.100.8:53")}},
	}
	for _, f := range []nf.Filter{
		{Port: 443},
		{Src: netip.MustParsePrefix("10.0.0.0/24")},
		{State: nf.Established},
		{Proto: nf.UDP, DstPort: 443},
	} {
		n := 0
		for _, e := range entries {
			if f.Match(e) {
				n++
			}
		}
		fmt.Println(n)
	}
	// Output:
	// 1
	// 2
	// 1
	// 0
}

// The conditions of a Probe, in the words of nft.
func ExampleMatch() {
	fmt.Println(nf.Match{In: "wan", Src: netip.MustParsePrefix("198.18.0.0/15"), Proto: nf.TCP, DstPort: 80})
	fmt.Println(nf.Match{Proto: nf.TCP, Flags: packet.FlagSYN, FlagsMask: packet.FlagSYN | packet.FlagACK})
	// Output:
	// iifname wan ip saddr 198.18.0.0/15 tcp dport 80
	// tcp flags & (syn | ack) == syn
}

// A counter behind conntrack in prerouting that counts what conntrack calls INVALID.
func ExampleProbe() {
	p := nf.Probe{Hook: nf.Prerouting, Priority: nf.PriorityMangle, State: nf.StateInvalid}
	fmt.Println(p.DefaultName())
	fmt.Println(nf.ManglePrerouting.Name, nf.ManglePrerouting.Of(nf.IPv6).Name)
	// Output:
	// prerouting@-150
	// mangle/prerouting ip6/mangle/prerouting
}

// The tuple by which conntrack finds the entry of a packet.
func ExampleTupleOf() {
	t, ok := nf.TupleOf(packet.MustParse("tcp 198.18.0.2:10000 > 192.0.2.1:80 S"))
	fmt.Println(ok, t)
	fmt.Println(t.Reverse())
	// Output:
	// true src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80
	// src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10000
}

// Status bits and states have the names that conntrack prints.
func ExampleStatus() {
	fmt.Println(nf.Confirmed|nf.Assured|nf.SeenReply, nf.Status(0).Has(nf.Assured))
	fmt.Println(nf.SynSent, nf.TimeWait, nf.StateNew|nf.StateInvalid)
	// Output:
	// SEEN_REPLY,ASSURED,CONFIRMED false
	// SYN_SENT TIME_WAIT invalid,new
}

// "Cannot here" has what is missing and how to get it, and is told from other errors by errors.Is and errors.As.
func ExampleUnsupportedError() {
	err := fmt.Errorf("open a link: %w", &nf.UnsupportedError{Need: "/dev/net/tun", Hint: "sudo chmod 0666 /dev/net/tun", Err: errors.New("permission denied")})
	var lack *nf.UnsupportedError
	fmt.Println(errors.Is(err, errors.ErrUnsupported), errors.As(err, &lack), lack.Need)
	fmt.Println(err)
	// Output:
	// true true /dev/net/tun
	// open a link: needs /dev/net/tun: permission denied (sudo chmod 0666 /dev/net/tun)
}

// An expectation: what a helper waits for.
func ExampleExpectation() {
	l, err := nf.ParseListing("300 proto=6 src=198.18.0.2 dst=192.0.2.1 sport=0 dport=20001 mask-src=255.255.255.255 mask-dst=255.255.255.255 sport=0 dport=65535 master-src=198.18.0.2 master-dst=192.0.2.1 sport=1 dport=21 class=0 helper=ftp")
	fmt.Println(err, len(l.Expectations), l.Expectations[0].Timeout == 300*time.Second)
	fmt.Println(l.Expectations[0])
	// Output:
	// <nil> 1 true
	// tcp src=198.18.0.2 dst=192.0.2.1 sport=0 dport=20001 master src=198.18.0.2 dst=192.0.2.1 sport=1 dport=21 helper=ftp
}
