package ctexp_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// between is a router between wan and lan with these rules.
func between(rules ...netnsenv.Ruleset) netnsenv.Config {
	return netnsenv.Config{
		Silent: true,
		Links: []netnsenv.LinkConfig{
			{Name: "wan", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}, Routes: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}, MTU: 1000},
			{Name: "lan", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}},
		},
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
		Rules:   rules,
	}
}

const verdicts = `
table inet t {
	chain forward {
		type filter hook forward priority filter;
		tcp dport 7 drop
		tcp dport 8 reject
		tcp dport 9 reject with tcp reset
	}
	chain late { type filter hook postrouting priority 2147483646; tcp dport 10 drop; }
	chain early { type filter hook input priority -2147483647; tcp dport 11 drop; }
	chain output { type filter hook output priority filter; tcp dport 12 drop; tcp dport 13 reject; }
}
table netdev t {
	chain c { type filter hook ingress device "lan" priority 0; tcp dport 14 drop; }
}
`

// tried is each packet with the verdict and where it went.
var tried = []struct{ line, want string }{
	{"tcp 10.0.0.2:1 > 198.51.100.7:80 S", "accept wan"},
	{"tcp 10.0.0.2:1 > 198.51.100.7:7 S", "drop"},
	{"tcp 10.0.0.2:1 > 198.51.100.7:8 S", "reject"},
	{"tcp 10.0.0.2:1 > 198.51.100.7:9 S", "reject"},
	{"tcp 10.0.0.2:1 > 198.51.100.7:10 S", "drop"},
	{"tcp 10.0.0.2:1 > 10.0.0.1:11 S", "drop"},
	{"tcp 10.0.0.2:1 > 10.0.0.1:80 S", "accept"},
	{"tcp 10.0.0.2:1 > 198.51.100.7:80 S ttl 1", "lost"},
	{"tcp 10.0.0.2:1 > 224.0.0.9:80 S", "lost"},
	{"tcp 192.0.2.1:1 > 198.51.100.7:80 S", "accept wan"},
	{"tcp 192.0.2.1:1 > 198.51.100.7:12 S", "drop"},
	{"tcp 192.0.2.1:1 > 198.51.100.7:13 S", "reject"},
	{"tcp 127.0.0.1:1 > 127.0.0.1:80 S", "accept"},
	{"udp 10.0.0.2:1 > 198.51.100.7:53 length 1400 nodf", "accept wan wan"},
	{"udp 10.0.0.2:1 > 198.51.100.7:53 length 1400 df", "lost"},
	{"udp 10.0.0.2:1 > 198.51.100.7:54 (frag 7:8@0+)", "held"},
	{"icmp 10.0.0.9 > 198.51.100.7 host unreachable for (IP 198.51.100.7.1 > 10.0.0.2.9: UDP, length 0)", "accept wan"},
}

// Each packet has its verdict, with the rules read or not.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	cfg := between(netnsenv.NFT(verdicts))
	cfg.Trace = true
	var trials []ctexp.Trial
	var want []string
	for _, tt := range tried {
		trials = append(trials, ctexp.Trial{Packet: packet.MustParse(tt.line)})
		want = append(want, tt.line+": "+tt.want)
	}
	said := func(outcomes []ctexp.Outcome) (all []string) {
		for i, o := range outcomes {
			s := tried[i].line + ": " + o.Verdict().String()
			for _, left := range o.Left() {
				s += " " + left.Link
			}
			all = append(all, s)
		}
		return all
	}
	x := ctexp.New(t, cfg)

	outcomes, err := x.Lab.Try(t.Context(), trials...)

	ctexp.Require(t, "try", err)
	if diff := ctexp.Diff(want, said(outcomes)); diff != "" {
		x.Errorf("verdicts (-want +got):\n%s", diff)
	}
	if steps := outcomes[10].Fate.Steps; len(steps) != 1 || !steps[0].Dropped() || !outcomes[10].FromHost {
		x.Errorf("the packet that the host sent met %v", steps)
	}

	quick := ctexp.New(t, between(netnsenv.NFT(verdicts)))
	outcomes, err = quick.Lab.TryQuickly(t.Context(), trials...)
	ctexp.Require(t, "try quickly", err)
	for i, got := range said(outcomes) { // without the rules, what may be another cause is called lost
		if unsure := slices.Contains([]string{":10 S", ":11 S", ":14 S"}, tried[i].line[max(0, len(tried[i].line)-5):]); !unsure && got != want[i] {
			quick.Errorf("quickly: got %s, want %s", got, want[i])
		}
	}
}

// A rule of ingress drops before any hook that is traced.
func TestIngressDrops(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, between(netnsenv.NFT(verdicts)))

	outcomes, err := x.Lab.Try(t.Context(), ctexp.Trial{Packet: packet.MustParse("tcp 10.0.0.2:1 > 198.51.100.7:14 S")})

	ctexp.Require(t, "try", err)
	if got := outcomes[0].Verdict(); got != ctexp.VerdictDrop {
		x.Errorf("got %v: %v", got, outcomes[0])
	}
}

// Rules of the old iptables are not traced; the verdicts are the same.
func TestVerdictsOfOldIPTables(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, between(netnsenv.IPTables(netnsenv.IPTablesLegacy, "-A FORWARD -p tcp --dport 7 -j DROP", "-A FORWARD -p tcp --dport 8 -j REJECT")))
	var trials []ctexp.Trial
	for _, port := range []string{"7", "8", "9"} {
		trials = append(trials, ctexp.Trial{Link: "lan", Packet: packet.MustParse("tcp 10.0.0.2:1 > 198.51.100.7:" + port + " S")})
	}

	outcomes, err := x.Lab.Try(t.Context(), trials...)

	ctexp.Require(t, "try", err)
	var got []string
	for _, o := range outcomes {
		got = append(got, o.Verdict().String())
	}
	if s := strings.Join(got, " "); s != "drop reject accept" {
		x.Errorf("got %s", s)
	}
}

// A reject is another outcome than a silent drop.
func TestCompareTellsRejectFromDrop(t *testing.T) {
	t.Parallel()
	with := func(name, verdict string) ctexp.Policy {
		return ctexp.Policy{Name: name, Rules: []netnsenv.Ruleset{netnsenv.NFT(fmt.Sprintf("table inet t { chain c { type filter hook forward priority 0; tcp dport 7 %s; }; }", verdict))}}
	}

	c, err := ctexp.Compare(t.Context(), between(), []ctexp.Policy{with("a", "drop"), with("b", "reject")}, packet.Packets(packet.MustParse("tcp 10.0.0.2:1 > 198.51.100.7:7 S")))

	ctexp.Require(t, "compare", err)
	if c.Diff() == "" {
		t.Error("there is no difference")
	}
}

// A link that is not there is an error with the number of the packet, and what was tried before is returned.
func TestTrialOnNoLink(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, between())
	good := ctexp.Trial{Packet: packet.MustParse("udp 10.0.0.2:1 > 10.0.0.1:53")}

	for name, try := range map[string]func(*ctexp.Lab) ([]ctexp.Outcome, error){
		"try": func(l *ctexp.Lab) ([]ctexp.Outcome, error) {
			return l.Try(t.Context(), good, ctexp.Trial{Link: "dmz", Packet: good.Packet})
		},
		"quickly": func(l *ctexp.Lab) ([]ctexp.Outcome, error) {
			return l.TryQuickly(t.Context(), good, ctexp.Trial{Link: "dmz", Packet: good.Packet})
		},
	} {
		outcomes, err := try(x.Lab)
		if err == nil || !strings.Contains(err.Error(), `packet 2`) || !strings.Contains(err.Error(), `no link "dmz"`) || len(outcomes) != 1 {
			x.Errorf("%s: got %d outcomes and %v", name, len(outcomes), err)
		}
	}
}
