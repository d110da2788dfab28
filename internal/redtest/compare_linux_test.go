package redtest_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Policies without a difference are the same only if packets got to where they differ.
func TestComparisonsThatShowNothing(t *testing.T) {
	t.Parallel()
	nft := func(texts ...string) (all []ctexp.Policy) {
		for _, text := range texts {
			all = append(all, ctexp.Policy{Rules: []netnsenv.Ruleset{netnsenv.AllowEmpty(netnsenv.NFT(text))}})
		}
		return all
	}
	save := func(v netnsenv.Variant, texts ...string) (all []ctexp.Policy) {
		for _, text := range texts {
			all = append(all, ctexp.Policy{Rules: []netnsenv.Ruleset{netnsenv.IPTablesSave(v, text)}})
		}
		return all
	}
	chain := func(hook, rules string) string {
		return "table ip n { chain c { type filter hook " + hook + "; " + rules + "; }; }\n"
	}
	telnet := func(rules string) string {
		return "table ip n { chain telnet { " + rules + "; }; chain c { type filter hook forward priority 0; tcp dport 23 jump telnet; }; }\n"
	}
	set := func(element string) string {
		return "table ip n { set s { type ipv4_addr; elements = { " + element + " }; }; chain c { type filter hook forward priority 0; ip daddr @s drop; }; }\n"
	}
	filter := func(rule string) string { return "*filter\n" + rule + "\nCOMMIT\n" }
	drops := netnsenv.NFT("table ip before { chain c { type filter hook prerouting priority raw; drop; }; }")
	dropsLate := netnsenv.NFT("table ip before { chain c { type filter hook forward priority -10; drop; }; }")
	host, syn := packet.SYN(web), packet.SYN(through)
	const forward80, forward81 = "-A FORWARD -p tcp --dport 80 -j ACCEPT", "-A FORWARD -p tcp --dport 81 -j ACCEPT"
	for name, c := range map[string]struct {
		cfg      netnsenv.Config
		policies []ctexp.Policy
		packet   packet.Packet
		vacuous  string // what is named; empty: it is not vacuous
	}{
		"all dropped before":     {routing(drops), nft(chain("forward priority 0", "tcp dport 80 drop"), ""), syn, "chain ip n c of policy 1 (forward at priority 0)"},
		"dropped in the hook":    {routing(dropsLate), nft(chain("forward priority 0", "tcp dport 80 drop"), ""), syn, "chain ip n c of policy 1"},
		"another hook":           {routing(), nft("", chain("forward priority 0", "drop")), host, "chain ip n c of policy 2"},
		"a policy alone":         {routing(), nft("", chain("output priority 0; policy drop", "ip ttl 9 accept")), syn, "(output at priority 0)"},
		"another family":         {routing(), nft("", strings.ReplaceAll(chain("forward priority 0", "drop"), "ip n", "ip6 n")), syn, "chain ip6 n c of policy 2"},
		"a chain of no packet":   {routing(), nft(telnet("drop"), telnet("reject")), syn, "chain ip n telnet of policy 1"},
		"the third":              {routing(), nft(chain("input priority 0", "counter"), chain("input priority 0", "accept"), chain("input priority 0", "counter")+"table ip m { chain c { type filter hook forward priority 0; drop; }; }\n"), host, "chain ip m c of policy 3"},
		"iptables-legacy":        {routing(), save(netnsenv.IPTablesLegacy, filter(forward80), filter(forward81)), host, "chain ip filter FORWARD of policy 1 (forward at priority 0)"},
		"iptables-nft":           {routing(), save(netnsenv.IPTablesNFT, filter(forward80), filter(forward81)), host, "chain ip filter FORWARD of policy 1"},
		"both variants":          {routing(drops), append(save(netnsenv.IPTablesLegacy, filter(forward80)), save(netnsenv.IPTablesNFT, filter(forward81))...), syn, "chain ip filter FORWARD of policy 1"},
		"NAT of established":     {routing(drops), nft("", "table ip n { chain c { type nat hook postrouting priority 100; masquerade; }; }"), syn, "(postrouting at priority 100)"},
		"different, and met":     {routing(), nft(chain("forward priority 0", "tcp dport 23 drop"), chain("forward priority 0", "tcp dport 24 drop")), syn, ""},
		"lost alike where it is": {routing(), nft(chain("forward priority 0", "drop"), chain("forward priority 0", "tcp dport 80 drop")), syn, ""},
		"the same, not met":      {routing(drops), nft(chain("forward priority 0", "drop"), chain("forward priority 0", "drop")), syn, ""},
		"no rules":               {routing(), nft("", ""), syn, ""},
		"in a chain that is met": {routing(), nft(telnet("drop"), telnet("drop; accept")), packet.SYN(packet.Flow{Src: through.Src, Dst: netAddr("192.0.2.2:23")}), ""},
		"the elements of a set":  {routing(), nft(set("192.0.2.9"), set("192.0.2.8")), syn, ""},
		"other names":            {routing(), nft(chain("forward priority 0", "tcp dport 23 drop"), strings.ReplaceAll(chain("forward priority 0", "tcp dport 23 drop"), " c ", " d ")), syn, ""},
		"legacy, met":            {routing(), save(netnsenv.IPTablesLegacy, filter(forward80), filter(forward81)), syn, ""},
		"both variants, met":     {routing(), append(save(netnsenv.IPTablesLegacy, filter(forward80)), save(netnsenv.IPTablesNFT, filter(forward80))...), syn, ""},
		"before all probes":      {routing(), nft("", chain("prerouting priority -450", "tcp dport 23 drop")), syn, ""},
		"at ingress":             {routing(), nft("", "table netdev n { chain c { type filter hook ingress device tun0 priority 0; tcp dport 23 drop; }; }"), syn, ""},
		"a helper":               {routing(drops), []ctexp.Policy{{}, {Rules: []netnsenv.Ruleset{netnsenv.Helper{Name: "ftp", Proto: nf.TCP, Match: nf.Match{DstPort: 21}}}}}, syn, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ctexp.Compare(t.Context(), c.cfg, c.policies, packet.Packets(c.packet))
			ctexp.Require(t, "compare", err)

			diff := got.Diff()
			if c.vacuous == "" && diff != "" || c.vacuous != "" && !(strings.HasPrefix(diff, "vacuous: ") && strings.Contains(diff, c.vacuous)) {
				t.Errorf("got %q, want it to name %q", diff, c.vacuous)
			}
			got.AllowVacuous()
			if diff := got.Diff(); diff != "" {
				t.Errorf("after AllowVacuous: %s", diff)
			}
		})
	}
}

func netAddr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
