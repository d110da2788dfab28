package redtest_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/ctexp/peer"
	"github.com/ctexp/go-ctexp/internal/redtest"
)

// What could never come is not proven to be absent by that.
func TestNothingComesToNowhere(t *testing.T) {
	t.Parallel()
	away, other := netip.MustParseAddrPort("203.0.113.9:80"), netip.MustParseAddr("203.0.113.8")
	entry := nf.Entry{Orig: through.Tuple(nf.TCP), Reply: through.Tuple(nf.TCP).Reverse()}
	traced := routing(netnsenv.IPTables(netnsenv.IPTablesLegacy, "-A FORWARD -p tcp --dport 81 -j DROP"))
	traced.Trace = true
	queue := func(text string) netnsenv.Config { return routing(netnsenv.NFT(text)) }
	forward := func(rule string) string {
		return "table ip n { chain c { type filter hook forward priority 0; " + rule + "; }; }"
	}
	save := func(v netnsenv.Variant, rule string) netnsenv.Config {
		return routing(netnsenv.IPTables(v, "-A FORWARD -p tcp --dport 81 "+rule))
	}
	held := func(x *ctexp.Experiment) {
		q := x.Queue(5)
		x.Inject(packet.SYNs(3, through))
		q.Held()
	}
	for name, c := range map[string]struct {
		cfg    netnsenv.Config
		test   func(x *ctexp.Experiment)
		reason string // empty: green
	}{
		"TCP":              {routing(), func(x *ctexp.Experiment) { x.TCP("tun1", packet.Flow{Src: away}).ExpectNothing() }, "203.0.113.9 is not behind tun1"},
		"UDP":              {routing(), func(x *ctexp.Experiment) { x.UDP("tun1", packet.Flow{Src: away}).ExpectNothing() }, "203.0.113.9 is not behind tun1"},
		"echo":             {routing(), func(x *ctexp.Experiment) { x.Echo("tun1", away.Addr(), other).ExpectNothing() }, "203.0.113.9 is not behind tun1"},
		"a queue":          {queue(forward("queue num 6")), held, "no rule sends packets to queue 5"},
		"a queue, legacy":  {save(netnsenv.IPTablesLegacy, "-j NFQUEUE --queue-num 6"), held, "no rule sends packets to queue 5"},
		"a queue, nft":     {save(netnsenv.IPTablesNFT, "-j NFQUEUE --queue-num 6"), held, "no rule sends packets to queue 5"},
		"a trace":          {traced, func(x *ctexp.Experiment) { x.Trace() }, "rules of iptables-legacy are not traced"},
		"a change":         {routing(), func(x *ctexp.Experiment) { must(x, x.Env.Table().Update(entry)) }, "there is nothing to change"},
		"a helper":         {routing(netnsenv.Helper{Name: "ftp", Proto: nf.TCP, Family: nf.IPv4, Match: nf.Match{Src: netip.MustParsePrefix("2001:db8::/32")}}), func(*ctexp.Experiment) {}, "no packet of ipv4 has the address"},
		"a timeout policy": {routing(netnsenv.TimeoutPolicy{Proto: nf.ICMPv6, Family: nf.IPv4, Timeouts: map[string]time.Duration{"timeout": time.Second}}), func(*ctexp.Experiment) {}, "no packet of icmpv6 is of ipv4"},

		"TCP behind its link": {routing(), func(x *ctexp.Experiment) {
			x.TCP("tun1", packet.Flow{Src: netip.MustParseAddrPort("192.0.2.9:80")}).ExpectNothing()
		}, ""},
		"UDP, which was sent to": {routing(), func(x *ctexp.Experiment) {
			x.Inject(packet.SYNs(1, packet.Flow{Src: through.Src, Dst: away}))
			x.UDP("tun1", packet.Flow{Src: away}).ExpectNothing()
		}, ""},
		"TCP, which is meant": {routing(), func(x *ctexp.Experiment) { x.AllowVacuous(); x.TCP("tun1", packet.Flow{Src: away}).ExpectNothing() }, ""},
		"a queue of a rule":   {queue(forward("tcp dport 81 queue num 4-6")), held, ""},
		"a queue of legacy":   {save(netnsenv.IPTablesLegacy, "-j NFQUEUE --queue-balance 4:6"), held, ""},
		"a queue of nft":      {save(netnsenv.IPTablesNFT, "-j NFQUEUE --queue-num 5"), held, ""},
		"a hold": {routing(), func(x *ctexp.Experiment) {
			q := x.Hold(nf.Probe{Match: nf.Match{Proto: nf.UDP}})
			x.Inject(packet.SYNs(3, through))
			q.Held()
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			judge(t, c.reason, func(f *redtest.TB) {
				x := ctexp.New(f, c.cfg)
				x.Inject(packet.SYNs(3, through))
				c.test(x)
			})
		})
	}
}

// What hosts of one network send each other directly is not what the host under test does with it: NAT that sends a connection back into
// the network that it came from works with a translated source alone.
func TestNeighboursDoWithoutTheHost(t *testing.T) {
	t.Parallel()
	at := netip.MustParseAddrPort
	client, server := packet.Flow{Src: at("198.18.0.5:4000"), Dst: at("192.0.2.1:80")}, packet.Flow{Src: at("198.18.0.80:80")}
	lan := func(rules ...netnsenv.Ruleset) netnsenv.Config {
		cfg := routing(rules...)
		cfg.Links[0].Kind = netnsenv.Veth
		return cfg
	}
	hairpin := func(source string) netnsenv.Config {
		return lan(netnsenv.NFT("table ip n { chain d { type nat hook prerouting priority dstnat; ip daddr 192.0.2.1 dnat to 198.18.0.80; }; " +
			"chain s { type nat hook postrouting priority srcnat; " + source + "; }; }"))
	}
	handshake := func(x *ctexp.Experiment) { x.Handshake(x.TCP("tun0", client), x.TCP("tun0", server)) }
	syn := func(dst string) func(*ctexp.Experiment) {
		return func(x *ctexp.Experiment) {
			x.TCP("tun0", packet.Flow{Src: client.Src, Dst: at(dst)}).Send(peer.Segment{Flags: packet.FlagSYN})
		}
	}
	const directly = "198.18.0.80 would send to 198.18.0.5 directly, and not through the host: both are in 198.18.0.0/24, the network of tun0"
	for name, c := range map[string]struct {
		cfg    netnsenv.Config
		test   func(x *ctexp.Experiment)
		reason string // empty: green
	}{
		"a hairpin":        {hairpin(`oifname "tun1" masquerade`), handshake, directly},
		"a translated one": {hairpin(`oifname "tun0" masquerade`), handshake, ""},
		"a neighbour":      {lan(), syn("198.18.0.6:80"), "198.18.0.5 would send to 198.18.0.6 directly"},
		"UDP of a neighbour": {lan(), func(x *ctexp.Experiment) {
			x.UDP("tun0", packet.Flow{Src: client.Src, Dst: at("198.18.0.6:53")}).Send(nil)
		}, "directly"},
		"of a VPN": {routing(), syn("198.18.0.6:80"), ""},
		"a broadcast": {lan(), func(x *ctexp.Experiment) {
			x.UDP("tun0", packet.Flow{Src: client.Src, Dst: at("198.18.0.255:67")}).Send(nil)
		}, ""},
		"the host":        {lan(), syn("198.18.0.1:80"), ""},
		"another network": {lan(), syn("192.0.2.9:80"), ""},
		"an address that came later": {lan(), func(x *ctexp.Experiment) {
			must(x, x.Env.Command(t.Context(), "ip", "addr", "add", "198.18.0.7/32", "dev", "lo").Run())
			syn("198.18.0.7:80")(x)
		}, ""},
		"what is injected": {lan(), func(x *ctexp.Experiment) {
			x.InjectOn("tun0", packet.SYNs(1, packet.Flow{Src: client.Src, Dst: at("198.18.0.6:80")}))
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			judge(t, c.reason, func(f *redtest.TB) { c.test(ctexp.New(f, c.cfg)) })
		})
	}
}
