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
	twoSets := func(elements, elsewhere string) string {
		return set(elements) + "table ip m { set s { type ipv4_addr; elements = { " + elsewhere + " }; }; chain c { type filter hook input priority 0; ip daddr @s drop; }; }\n"
	}
	ways := func(to string) string {
		return "table ip n { chain a { }; chain b { drop; }; map m { type inet_service : verdict; elements = { 80 : jump " + to + " }; }\nchain c { type filter hook forward priority 0; tcp dport vmap @m; }; }\n"
	}
	quota := func(bytes, dport string) string {
		return "table ip n { quota q { over " + bytes + " bytes }; chain c { type filter hook forward priority 0; tcp dport " + dport + " quota name q drop; }; }\n"
	}
	ipset := func(member string) ctexp.Policy {
		return ctexp.Policy{Rules: []netnsenv.Ruleset{netnsenv.IPSetSave("create s hash:ip\nadd s " + member + "\nadd s 192.0.2.66"), netnsenv.IPTables(netnsenv.IPTablesNFT, "-A INPUT -m set --match-set s src -j DROP")}}
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
		"other elements":         {routing(drops), nft(set("192.0.2.9"), set("192.0.2.8")), syn, "chain ip n c of policy 1"},
		"the same elements":      {routing(drops), nft(set("192.0.2.9, 192.0.2.8"), set("192.0.2.8, 192.0.2.9")), syn, ""},
		"elements elsewhere":     {routing(), nft(twoSets("192.0.2.9", "192.0.2.7"), twoSets("192.0.2.9", "192.0.2.8")), syn, "chain ip m c of policy 1"},
		"other ways of a map":    {routing(drops), nft(ways("a"), ways("b")), syn, "chain ip n c of policy 1"},
		"another quota":          {routing(drops), nft(quota("9", "80"), quota("8", "80")), syn, "chain ip n c of policy 1"},
		"other members of ipset": {routing(), []ctexp.Policy{ipset("192.0.2.9"), ipset("192.0.2.8")}, syn, "chain ip filter INPUT of policy 1"},
		"the same of ipset":      {routing(), []ctexp.Policy{ipset("192.0.2.9"), ipset("192.0.2.9")}, syn, ""},
		"ipset, met":             {routing(), []ctexp.Policy{ipset("192.0.2.9"), ipset("192.0.2.8")}, host, ""},
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
