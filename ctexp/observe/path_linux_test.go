package observe_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func (l lab) path() observe.Path {
	l.Helper()
	p, err := l.o.Path(l.Context())
	if err != nil {
		l.Fatal(err)
	}
	return p
}

// The path shows what the kernel did: to the host, through the host, and lost on the way.
func TestPathSaysWherePacketsWent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		cfg  netnsenv.Config
		send []packet.Packet
		want string
	}{
		{
			"to a silent host", netnsenv.Config{Silent: true},
			[]packet.Packet{packet.SYN(web), packet.SYN(web.Nth(1))}, `
ipv4 prerouting   defrag 2 → raw 2 → conntrack 2 → mangle 2 → nat 2 → filter 2 → end 2
     input        mangle 2 → filter 2 → security 2 → nat 2 → confirm 2 → confirmed 2
silenced output   2 of the host's own packets, before conntrack saw them
`,
		},
		{
			"answered", netnsenv.Config{},
			[]packet.Packet{packet.SYN(web)}, `
ipv4 prerouting   defrag 1 → raw 1 → conntrack 1 → mangle 1 → nat 1 → filter 1 → end 1
     input        mangle 1 → filter 1 → security 1 → nat 1 → confirm 1 → confirmed 1
     output       raw 1 → conntrack 1 → mangle 1 → nat 1 → filter 1 → security 1 → end 1
     postrouting  mangle 1 → nat 1 → confirm 1 → confirmed 1
`,
		},
		{
			"to somebody else", netnsenv.Config{Silent: true},
			[]packet.Packet{packet.SYN(packet.Flow{Src: web.Src, Dst: addrPort("203.0.113.1:80")})}, `
ipv4 prerouting   defrag 1 → raw 1 → conntrack 1 → mangle 1 → nat 1 → filter 1 → end 1
                  1 of 1 lost after end, before mangle/input or mangle/forward: not for this host, which does not forward (IpInAddrErrors +1)
`,
		},
		{
			// out by where it came from, of which the host would tell the sender (ICMP redirect)
			"forwarded", netnsenv.Config{Silent: true, Sysctls: map[string]string{"net.ipv4.ip_forward": "1"}},
			[]packet.Packet{packet.SYN(packet.Flow{Src: web.Src, Dst: addrPort("203.0.113.1:80")})}, `
ipv4 prerouting   defrag 1 → raw 1 → conntrack 1 → mangle 1 → nat 1 → filter 1 → end 1
     forward      mangle 1 → filter 1 → security 1 → end 1
     postrouting  mangle 1 → nat 1 → confirm 1 → confirmed 1
silenced output   1 of the host's own packets, before conntrack saw them
`,
		},
		{
			"IPv6", netnsenv.Config{Silent: true, Links: []netnsenv.LinkConfig{{Prefixes: prefixes("2001:db8::1/64")}}},
			[]packet.Packet{packet.SYN(web6)}, `
ipv6 prerouting   defrag 1 → raw 1 → conntrack 1 → mangle 1 → nat 1 → filter 1 → end 1
     input        mangle 1 → filter 1 → security 1 → nat 1 → confirm 1 → confirmed 1
silenced output   1 of the host's own packets, before conntrack saw them
`,
		},
		{
			"invalid", netnsenv.Config{Silent: true},
			[]packet.Packet{web.TCP(packet.TCP{Flags: packet.FlagFIN | packet.FlagSYN, Seq: 1})}, `
ipv4 prerouting   defrag 1 → raw 1 → conntrack 1 → mangle 1 → nat 1 → filter 1 → end 1
     input        mangle 1 → filter 1 → security 1 → nat 1 → confirm 1 → confirmed 0
                  1 of 1 without an entry between confirm and confirmed: invalid +1: tcp: invalid tcp flag combination
silenced output   1 of the host's own packets, before conntrack saw them
`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x := open(t, c.cfg)
			x.send(c.send...)
			if diff := cmp.Diff(strings.TrimPrefix(c.want, "\n"), x.path().String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPathWithoutProbesIsAnError(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{NoPath: true})
	if _, err := x.o.Path(t.Context()); !errors.Is(err, observe.ErrOff) {
		t.Errorf("path: %v", err)
	}
	if err := x.tally().Check(); !errors.Is(err, observe.ErrLawNotApplicable) {
		t.Errorf("check: %v", err)
	}
}

func BenchmarkPath(b *testing.B) {
	x := open(b, netnsenv.Config{})
	for b.Loop() {
		if _, err := x.o.Path(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// losses returns why packets were lost, one string per place.
func (l lab) losses() []string {
	l.Helper()
	var s []string
	for _, loss := range l.path().Losses() {
		s = append(s, loss.Why())
	}
	return s
}

// The path names the rule that dropped packets, as far as counters or a trace show it.
func TestPathNamesTheRuleThatDropped(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rules netnsenv.Ruleset
		trace bool
		want  string
	}{
		"counted": {
			netnsenv.NFT("table ip u { chain in { type filter hook input priority 0; tcp dport 80 counter drop; tcp dport 443 counter drop; }; }"), false,
			"dropped by nft ip u in: tcp dport 80 counter drop [packets 3 bytes 120]",
		},
		"with a comment": {
			netnsenv.NFT(`table inet u { chain in { type filter hook input priority 0; tcp dport 80 counter reject comment "no web"; }; }`), false,
			`dropped by nft inet u in: tcp dport 80 counter reject comment "no web" [packets 3 bytes 120]`,
		},
		"not counted": {
			netnsenv.NFT("table ip u { chain in { type filter hook input priority 0; tcp dport 80 drop; }; }"), false,
			"dropped by a rule, the only candidate: nft ip u in: tcp dport 80 drop",
		},
		"one of two": {
			netnsenv.NFT("table ip u { chain in { type filter hook input priority 0; tcp dport 80 drop; tcp dport 81 drop; }; }"), false,
			"dropped by a rule, one of nft ip u in: tcp dport 80 drop; nft ip u in: tcp dport 81 drop",
		},
		"policy": {
			netnsenv.NFT("table ip u { chain in { type filter hook input priority 0; policy drop; }; }"), false,
			"dropped by a rule, the only candidate: nft ip u in: policy drop",
		},
		"by jumps": {
			netnsenv.NFT("table ip u { chain b { tcp dport 80 counter drop; }; chain a { goto b; }; chain in { type filter hook input priority 0; jump a; }; }"), false,
			"dropped by nft ip u b: tcp dport 80 counter drop [packets 3 bytes 120]",
		},
		"in a verdict map": {
			netnsenv.NFT("table ip u { chain in { type filter hook input priority 0; counter tcp dport vmap { 80 : drop, 81 : accept }; }; }"), false,
			"dropped by a rule, the only candidate: nft ip u in: counter tcp dport vmap { 80 : drop, 81 : accept } [packets 3 bytes 120]",
		},
		"in a named verdict map": {
			netnsenv.NFT("table ip u { map m { type inet_service : verdict; elements = { 80 : drop }; }; chain in { type filter hook input priority 0; tcp dport vmap @m; }; }"), false,
			"dropped by a rule, the only candidate: nft ip u in: tcp dport vmap @m",
		},
		"by a verdict map": {
			netnsenv.NFT("table ip u { chain b { counter drop; }; chain in { type filter hook input priority 0; tcp dport vmap { 80 : jump b }; }; }"), false,
			"dropped by nft ip u b: counter drop [packets 3 bytes 120]",
		},
		"of another family, at another place": {
			netnsenv.NFT("table ip6 u { chain in { type filter hook input priority 0; drop; }; }\ntable ip u { chain in { type filter hook input priority 0; tcp dport 80 drop; }; chain out { type filter hook output priority 0; drop; }; }"), false,
			"dropped by a rule, the only candidate: nft ip u in: tcp dport 80 drop",
		},
		"traced": {
			netnsenv.NFT("table ip u { chain in { type filter hook input priority 0; tcp dport 443 drop; tcp dport 80 drop; }; }"), true,
			"dropped by nft ip u in: tcp dport 80 drop [dropped 3]",
		},
		"policy, traced": {
			netnsenv.NFT("table ip u { chain in { type filter hook input priority 0; policy drop; tcp dport 443 drop; }; }"), true,
			"dropped by nft ip u in: policy drop [dropped 3]",
		},
		"legacy": {
			netnsenv.IPTables(netnsenv.IPTablesLegacy, "-N WEB", "-A WEB -p tcp -m tcp --dport 80 -j DROP", "-A INPUT -j WEB"), false,
			"dropped by iptables-legacy ip filter WEB: -p tcp -m tcp --dport 80 -j DROP [packets 3 bytes 120]",
		},
		"legacy policy": {
			netnsenv.IPTables(netnsenv.IPTablesLegacy, "-P INPUT DROP"), false,
			"dropped by iptables-legacy ip filter INPUT: policy DROP [packets 3 bytes 120]",
		},
		"iptables-nft": {
			netnsenv.IPTables(netnsenv.IPTablesNFT, "-A INPUT -p tcp -m tcp --dport 80 -j REJECT"), false,
			"dropped by iptables-nft ip filter INPUT: -p tcp -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable [packets 3 bytes 120]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := open(t, netnsenv.Config{Silent: true, Trace: c.trace, Rules: []netnsenv.Ruleset{c.rules}})
			x.sendSYNs(3, web)
			if diff := cmp.Diff([]string{c.want}, x.losses()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// The second of two phases has its own counts.
func TestDropsOfASecondPhase(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{
		netnsenv.NFT("table ip u { chain in { type filter hook input priority 0; tcp dport 80 counter drop; }; }"),
	}})
	x.sendSYNs(3, web)
	before := x.path()
	x.sendSYNs(2, web)
	losses := x.path().Sub(before).Losses()
	if want := "dropped by nft ip u in: tcp dport 80 counter drop [packets 2 bytes 80]"; len(losses) != 1 || losses[0].Why() != want {
		t.Errorf("got %v, want %s", losses, want)
	}
}

// Packets that routing drops have their own counters.
func TestPathSaysWhyRoutingLostAPacket(t *testing.T) {
	t.Parallel()
	v4 := func(src, dst string) packet.Flow { return packet.Flow{Src: addrPort(src), Dst: addrPort(dst)} }
	const otherwise = "a martian address, or an unknown reason"
	for name, c := range map[string]struct {
		sysctl string
		value  string
		packet packet.Packet
		want   string
	}{
		"no forwarding":  {"net.ipv4.ip_forward", "0", packet.SYN(v4("198.18.0.2:1", "203.0.113.1:80")), "not for this host, which does not forward (IpInAddrErrors +1)"},
		"no route":       {"net.ipv4.ip_forward", "1", packet.SYN(v4("198.18.0.2:1", "203.0.113.1:80")), "no route (IpExtInNoRoutes +1)"},
		"rp_filter":      {"net.ipv4.conf.all.rp_filter", "1", packet.SYN(v4("203.0.113.9:1", "198.18.0.1:80")), "the source is not reachable by that link (rp_filter) (TcpExtIPReversePathFilter +1)"},
		"own source":     {"net.ipv4.ip_forward", "1", packet.SYN(v4("198.18.0.1:1", "198.18.0.1:80")), otherwise},
		"time to live":   {"net.ipv4.ip_forward", "1", damaged(packet.SYN(web), 0, 8, 1), "time to live exceeded (IpInHdrErrors +1)"},
		"too big":        {"net.ipv4.ip_forward", "1", web.UDP(make([]byte, 1400)), "too big for the next link (IpFragFails +1)"},
		"no route, IPv6": {"net.ipv6.conf.all.forwarding", "1", packet.SYN(v4("[2001:db8:1::2]:1", "[2001:db8:9::1]:80")), "no route, one that refuses, or no forwarding (Ip6InNoRoutes +1)"},
		"too big, IPv6":  {"net.ipv6.conf.all.forwarding", "1", v4("[2001:db8:1::2]:1", "[2001:db8:2::1]:80").UDP(make([]byte, 1400)), "too big for the next link (Ip6InTooBigErrors +1)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := router()
			cfg.Links[0].Prefixes = prefixes("198.18.0.1/24", "2001:db8:1::1/64")
			cfg.Links[1].Prefixes = prefixes("192.0.2.254/24", "2001:db8:2::2/64")
			cfg.Links[1].MTU = 1280
			cfg.Sysctls = map[string]string{c.sysctl: c.value}
			x := open(t, cfg)
			x.sendBy("tun0", c.packet)
			if diff := cmp.Diff([]string{c.want}, x.losses()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Packets that met no hook are explained as well.
func TestPathExplainsPacketsThatMetNoHook(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	bad := append(packet.Packet(nil), packet.SYN(web)...)
	bad[10] ^= 0xff
	x.send(bad)
	want := `ipv4 ingress      link 1
                  1 of 1 lost before the hooks: a bad checksum of the IP header (IpExtInCsumErrors +1)
`
	if diff := cmp.Diff(want, x.path().String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func BenchmarkPathWithDrops(b *testing.B) {
	x := open(b, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{
		netnsenv.NFT("table ip u { chain in { type filter hook input priority 0; tcp dport 80 counter drop; }; }"),
	}})
	x.sendSYNs(3, web)
	for b.Loop() {
		if _, err := x.o.Path(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
