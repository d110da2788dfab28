package redtest_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/redtest"
)

var six = packet.MustParse("udp [2001:db8:1::2]:5 > [2001:db8:2::2]:80")

// A host without IPv6 sends no packet of it, and does nothing with those that it gets, whatever its rules are.
func TestNothingComesOfIPv6WhereThereIsNone(t *testing.T) {
	t.Parallel()
	const alone, off = "packets of IPv6 alone, which the host discards", "no link has an address of IPv6"
	dual := routing()
	dual.Links[1].Prefixes = append(dual.Links[1].Prefixes, prefixes("2001:db8:2::1/64")...)
	of6 := packet.Match{SrcNet: prefixes("2001:db8::/32")[0]}
	sends := func(p ...packet.Packet) func(x *ctexp.Experiment) {
		return func(x *ctexp.Experiment) { x.Inject(packet.Packets(p...)) }
	}
	anything := func(x *ctexp.Experiment) { x.ExpectNothing() }
	for name, c := range map[string]struct {
		cfg    netnsenv.Config
		does   func(x *ctexp.Experiment)
		asks   func(x *ctexp.Experiment)
		reason string // empty: green
	}{
		"packets of IPv6 alone":  {routing(), sends(six, six), anything, alone},
		"entries of IPv6 alone":  {routing(), sends(six), func(x *ctexp.Experiment) { x.Flows() }, alone},
		"received of IPv6 alone": {routing(), sends(six), func(x *ctexp.Experiment) { x.Received() }, alone},
		"a match of IPv6":        {routing(), sends(packet.SYN(through)), func(x *ctexp.Experiment) { x.ExpectNothing(of6) }, off},
		"a match of ICMPv6":      {routing(), sends(packet.SYN(through)), func(x *ctexp.Experiment) { x.ExpectNothing(packet.Match{Proto: nf.ICMPv6}) }, off},
		"a peer of IPv6": {routing(), sends(packet.SYN(through)), func(x *ctexp.Experiment) {
			x.UDP("tun1", packet.Flow{Src: netAddr("[2001:db8:2::2]:80"), Dst: netAddr("[2001:db8:1::2]:5")}).ExpectNothing()
		}, off},
		"a match of both":          {routing(), sends(packet.SYN(web)), func(x *ctexp.Experiment) { x.ExpectNothing(of6, packet.Match{Flags: packet.FlagSYN}) }, ""},
		"IPv6 and IPv4":            {routing(netnsenv.NFT("table ip n { chain c { type filter hook forward priority 0; drop; }; }")), sends(six, packet.SYN(through)), anything, ""},
		"IPv6, and a program":      {routing(), func(x *ctexp.Experiment) { sends(six)(x); must(x, x.Env.Do(func() error { return nil })) }, anything, ""},
		"IPv6 where there is some": {dual, sends(six), func(x *ctexp.Experiment) { x.ExpectNothing(); x.ExpectNothing(of6) }, ""},
		"IPv6 on a bridge":         {bridged(netnsenv.NFT("table bridge n { chain c { type filter hook forward priority 0; drop; }; }")), sends(six), func(x *ctexp.Experiment) { x.ExpectNothing(); x.ExpectNothing(of6) }, ""},
		"that is meant":            {routing(), func(x *ctexp.Experiment) { x.AllowVacuous(); sends(six)(x) }, func(x *ctexp.Experiment) { x.ExpectNothing(); x.ExpectNothing(of6) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			judge(t, c.reason, func(f *redtest.TB) {
				x := ctexp.New(f, c.cfg)
				c.does(x)
				c.asks(x)
			})
		})
	}
}

// What a silent host would have sent is not proven to be absent by that.
func TestNothingComesOfASilentHost(t *testing.T) {
	t.Parallel()
	rst, syn := packet.Match{Flags: packet.FlagRST}, packet.Match{Flags: packet.FlagSYN, FlagsMask: packet.FlagSYN}
	dropping := func(hook string) netnsenv.Config {
		return routing(netnsenv.NFT("table ip n { chain c { type filter hook " + hook + " priority 0; drop; }; }"))
	}
	nothing := func(ms ...packet.Match) func(x *ctexp.Experiment) {
		return func(x *ctexp.Experiment) { x.ExpectNothing(ms...) }
	}
	for name, c := range map[string]struct {
		cfg    netnsenv.Config
		packet packet.Packet
		asks   func(x *ctexp.Experiment)
		red    bool
	}{
		"anything":                      {routing(), packet.SYN(web), nothing(), true},
		"a RST":                         {routing(), packet.SYN(web), nothing(rst), true},
		"a RST, beside a SYN":           {routing(), packet.SYN(web), nothing(syn, rst), true},
		"received":                      {routing(), packet.SYN(web), func(x *ctexp.Experiment) { x.Received() }, true},
		"the answer to a peer":          {routing(), packet.SYN(web), func(x *ctexp.Experiment) { x.TCP("tun0", web).ExpectNothing() }, true},
		"an echo":                       {routing(), packet.MustParse("icmp 198.18.0.2 > 192.0.2.1 echo request"), nothing(packet.Match{Proto: nf.ICMP}), true},
		"a SYN":                         {routing(), packet.SYN(web), nothing(syn), false},
		"a datagram":                    {routing(), packet.SYN(web), nothing(packet.Match{Proto: nf.UDP}), false},
		"anything, dropped in input":    {dropping("input"), packet.SYN(web), nothing(), false},
		"anything, dropped in forward":  {dropping("forward"), packet.SYN(through), nothing(), false},
		"a RST, dropped in input":       {dropping("input"), packet.SYN(web), nothing(rst), false},
		"anything, which is meant":      {routing(), packet.SYN(web), func(x *ctexp.Experiment) { x.AllowVacuous(); x.ExpectNothing() }, false},
		"anything of a host that talks": {dropping("output"), packet.SYN(web), nothing(), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reason := ""
			if c.red {
				reason = "Config.Silent has dropped 1 packets of the host"
			}
			judge(t, reason, func(f *redtest.TB) {
				cfg := c.cfg
				cfg.Silent = name != "anything of a host that talks"
				x := ctexp.New(f, cfg)
				x.Inject(packet.Packets(c.packet))
				c.asks(x)
			})
		})
	}
}

// A probe of what comes from lo in forward is no mistake: packets that a program writes to lo get there.
func TestWhatIsWrittenToLoIsForwarded(t *testing.T) {
	t.Parallel()
	cfg := routing()
	cfg.Sysctls["net.ipv4.conf.all.rp_filter"] = "0"
	cfg.Probes = []nf.Probe{{Name: "from lo", Hook: nf.Forward, Match: nf.Match{In: "lo"}}}
	x := ctexp.New(t, cfg)

	must(x, x.Env.Do(func() error {
		const ipv4 = 0x0008 // ETH_P_IP in network order, on machines with the low byte first
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, packet.SYN(through), 0, &unix.SockaddrLinklayer{Ifindex: 1, Protocol: ipv4})
	}))

	x.Expect(packet.Match{Out: "tun1", Flags: packet.FlagSYN})
	if n := x.Tally().Packets["from lo"]; n != 1 {
		t.Errorf("%d packets from lo in forward, want 1", n)
	}
}
