package netnsenv_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/coreos/go-iptables/iptables"
	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// A rule may change a packet, where the kernel lets a user namespace do so.
func TestRulesThatWritePackets(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{Silent: true})
	q := hold(t, e, nf.Probe{Priority: 1, Match: nf.Match{Proto: nf.UDP, DstPort: 99}})
	needs.Check(t, netnsenv.NFT("table ip w { chain c { type filter hook prerouting priority 0; udp dport set 99; }; }").Load(t.Context(), e))
	send(t, e, web.UDP(nil))
	if got := lines(held(t, q)); len(got) != 1 {
		t.Errorf("with the written port: %q, want one packet", got)
	}
}

// Rules of each kind drop incoming packets. Packets dropped in input leave no entry.
func TestRulesOfEveryKindAct(t *testing.T) {
	t.Parallel()
	for name, rules := range map[string]netnsenv.Ruleset{
		"nft": netnsenv.NFT("flush ruleset\ntable ip f { chain in { type filter hook input priority 0; drop; }; }"),
		"save, legacy": netnsenv.IPTablesSave(netnsenv.IPTablesLegacy, `*filter
:INPUT ACCEPT [0:0]
-A INPUT -m comment --comment "all of it" -j DROP
COMMIT
`),
		"save, last line open": netnsenv.IPTablesSave(netnsenv.IPTablesLegacy, "*filter\n-A INPUT -j DROP\nCOMMIT"),
		"save, nft":            netnsenv.IPTablesSave(netnsenv.IPTablesNFT, "*filter\n-A INPUT -j DROP\nCOMMIT\n"),
		"single, legacy":       netnsenv.IPTables(netnsenv.IPTablesLegacy, `-A INPUT -m comment --comment "all of it" -j DROP`),
		"single, nft":          netnsenv.IPTables(netnsenv.IPTablesNFT, "-N ALL", "-A ALL -j DROP", "-I INPUT -j ALL"),
		"policy, legacy":       netnsenv.IPTables(netnsenv.IPTablesLegacy, "-t filter -P INPUT DROP"),
		"nftables.Conn":        netnsenv.NFTables(dropInput),
		"rule then delete":     netnsenv.IPTables(netnsenv.IPTablesNFT, "-A INPUT -j ACCEPT", "-D INPUT -j ACCEPT", "-A INPUT -j DROP"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := open(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{rules}})
			sendSYNs(t, e, 3)
			if n := count(t, e); n != 0 {
				t.Errorf("%d entries after 3 SYNs that input drops", n)
			}
		})
	}
}

// The rules of ip6tables are those of IPv6 alone.
func TestIP6TablesAreForIPv6(t *testing.T) {
	t.Parallel()
	for _, v := range []netnsenv.Variant{netnsenv.IPTablesLegacy, netnsenv.IPTablesNFT} {
		t.Run(string(v), func(t *testing.T) {
			t.Parallel()
			e := open(t, netnsenv.Config{
				Links:  []netnsenv.LinkConfig{{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8::1/64")}}},
				Silent: true, Rules: []netnsenv.Ruleset{netnsenv.IP6Tables(v, "-A INPUT -j DROP")},
			})
			six := packet.Flow{Src: netip.MustParseAddrPort("[2001:db8::2]:1000"), Dst: netip.MustParseAddrPort("[2001:db8::1]:80")}
			if _, err := inject.New(e.Links()[0]).Send(t.Context(), packet.SYNs(2, six)); err != nil {
				t.Fatal(err)
			}
			if n := count(t, e); n != 0 {
				t.Errorf("%d entries after two SYNs of IPv6 that input drops", n)
			}
			sendSYNs(t, e, 3)
			if n := count(t, e); n != 3 {
				t.Errorf("%d entries after 3 SYNs of IPv4", n)
			}
		})
	}
}

func dropInput(c *nftables.Conn) error {
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "f"})
	chain := c.AddChain(&nftables.Chain{
		Table: table, Name: "in", Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter,
	})
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}})
	return nil // what is left unsent is flushed
}

func TestWrongRulesAreReported(t *testing.T) {
	t.Parallel()
	needs.Check(t, checkOpen(t))
	for name, tt := range map[string]struct {
		rules netnsenv.Ruleset
		want  []string
	}{
		"nft":                 {netnsenv.NFT("table ip f {\n\tnonsense\n}\n"), []string{"line 2, column 2: syntax error", ": nonsense"}},
		"save":                {netnsenv.IPTablesSave(netnsenv.IPTablesLegacy, "*filter\n-A INPUT -j DROP\n-A INPUT --nonsense\nCOMMIT\n"), []string{`line 3: unknown option "--nonsense": -A INPUT --nonsense`}},
		"save, nft":           {netnsenv.IPTablesSave(netnsenv.IPTablesNFT, "*filter\n-A INPUT --nonsense\nCOMMIT\n"), []string{`line 2: unknown option "--nonsense": -A INPUT --nonsense`}},
		"single":              {netnsenv.IPTables(netnsenv.IPTablesLegacy, "-A INPUT -j DROP", "-A INPUT --nonsense"), []string{`line 2: unknown option "--nonsense": -A INPUT --nonsense`}},
		"command":             {netnsenv.IPTables(netnsenv.IPTablesLegacy, "--flush INPUT"), []string{`command "--flush"`}},
		"quote":               {netnsenv.IPTables(netnsenv.IPTablesLegacy, `-A INPUT "`), []string{"unterminated"}},
		"variant":             {netnsenv.IPTables("iptables-new", "-A INPUT"), []string{`variant "iptables-new"`}},
		"nil":                 {nil, []string{"rules[0] is nil"}},
		"nil function":        {netnsenv.NFTables(nil), []string{"function is nil"}},
		"unknown target, nft": {netnsenv.IPTablesSave(netnsenv.IPTablesNFT, "*raw\n-A PREROUTING -j NOPE\nCOMMIT"), []string{"NOPE"}},
		"conn":                {netnsenv.NFTables(func(c *nftables.Conn) error { return errors.ErrUnsupported }), []string{"nftables rules"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := netnsenv.Open(t.Context(), netnsenv.Config{Rules: []netnsenv.Ruleset{tt.rules}})
			if err == nil {
				e.Close()
				t.Fatal("want an error")
			}
			if name != "conn" && name != "quote" {
				needs.Check(t, skipOnly(err))
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("got %v, want it to contain %q", err, w)
				}
			}
		})
	}
}

// One slip is one problem, with its place: a keyword as a name is told once, and what nft misreads after it, or after a
// block that does not begin, is not told.
func TestOneSlipIsOneProblem(t *testing.T) {
	t.Parallel()
	needs.Check(t, checkOpen(t))
	const keyword = "%q is a keyword of nft and cannot be a name"
	for name, c := range map[string]struct {
		text string
		want []string // each with line, column and why
	}{
		"chain":              {"table inet t {\n\tchain fwd {\n\t\ttype filter hook forward priority filter; policy accept;\n\t\tct state new counter\n\t}\n}\n", []string{"2 8 " + fmt.Sprintf(keyword, "fwd")}},
		"table":              {"table inet limit {\n\tchain a {\n\t\tcounter\n\t}\n}\n", []string{"1 12 " + fmt.Sprintf(keyword, "limit")}},
		"set":                {"table inet t {\n\tset ct { type ipv4_addr; }\n}\n", []string{"2 6 " + fmt.Sprintf(keyword, "ct")}},
		"chain, twice":       {"add table inet t\nadd chain inet t fwd { type filter hook input priority 0; }\nadd rule inet t fwd counter\n", []string{"2 18 " + fmt.Sprintf(keyword, "fwd")}},
		"jump":               {"table inet t {\n\tchain a {\n\t\tjump fwd\n\t}\n}\n", []string{"3 8 " + fmt.Sprintf(keyword, "fwd")}},
		"jump, another":      {"table inet t {\n\tchain a {\n\t\tjump fwd\n\t\tudp dport 99999 drop\n\t}\n}\n", []string{"3 8 " + fmt.Sprintf(keyword, "fwd"), "4 13 Service out of range"}},
		"a block":            {"table inet t {\n\tchian a {\n\t\ttype filter hook input priority 0;\n\t\tct state new counter\n\t}\n}\n", []string{"2 2 syntax error, unexpected string"}},
		"rules of their own": {"table inet t {\n\tchain a {\n\t\ttcp port 80 drop\n\t\tudp dport 99999 drop\n\t}\n}\n", []string{"3 7 syntax error, unexpected string", "4 13 Service out of range"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := netnsenv.Open(t.Context(), netnsenv.Config{Rules: []netnsenv.Ruleset{netnsenv.NFT(c.text)}})
			if err == nil {
				e.Close()
			}
			needs.Check(t, skipOnly(err))
			var bad *nf.RulesError
			if !errors.As(err, &bad) {
				t.Fatalf("%v, want an *nf.RulesError", err)
			}
			var got []string
			for _, p := range bad.Problems {
				got = append(got, fmt.Sprint(p.Line, p.Column, " ", p.Why))
			}
			if diff := cmp.Diff(c.want, got); diff != "" || bad.Output != "" {
				t.Errorf("(-want +got):\n%s\n%v", diff, err)
			}
		})
	}
}

// skipOnly returns err if the machine lacks something.
func skipOnly(err error) error {
	if errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

func TestIPTablesHandleWorksInside(t *testing.T) {
	t.Parallel()
	for _, v := range []netnsenv.Variant{netnsenv.IPTablesLegacy, netnsenv.IPTablesNFT} {
		e := open(t, netnsenv.Config{Silent: true})
		var rules []string
		needs.Check(t, e.IPTables(v, func(ipt *iptables.IPTables) (err error) {
			if err = ipt.Append("mangle", "PREROUTING"); err == nil {
				rules, err = ipt.List("mangle", "PREROUTING")
			}
			return err
		}))
		if len(rules) != 2 || rules[1] != "-A PREROUTING" {
			t.Errorf("%s: %q", v, rules)
		}
		needs.Check(t, e.IP6Tables(v, func(ipt *iptables.IPTables) error { return ipt.Append("mangle", "PREROUTING", "-p", "ipv6-icmp") }))
	}
}

// Our tables survive "flush ruleset".
func TestFlushRulesetLeavesProbesAlone(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{netnsenv.NFT("flush ruleset")}})
	sendSYNs(t, e, 3) // the fence would miss its counter
	if n := count(t, e); n != 3 {
		t.Errorf("%d entries after 3 SYNs: conntrack is not on", n)
	}
}
