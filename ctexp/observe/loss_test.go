package observe

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func TestChainsAreReached(t *testing.T) {
	t.Parallel()
	in, out := attached{nf.Input, 0}, attached{nf.Output, 0}
	bases := map[string]attached{"in": in, "out": out}
	got := reached(bases, map[string][]string{
		"in": {"a"}, "out": {"b"}, "a": {"b", "a", "out"}, "b": {"a"}, "alone": {"b"}, "c": nil,
	})
	want := map[string][]attached{"in": {in}, "out": {out}, "a": {in, out}, "b": {in, out}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(attached{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	got = reached(bases, map[string][]string{"in": {anywhere}, "out": nil, "x": nil, "y": nil})
	want = map[string][]attached{"in": {in}, "out": {out}, "x": {in}, "y": {in}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(attached{})); diff != "" {
		t.Errorf("by a verdict map (-want +got):\n%s", diff)
	}
}

func TestDropsOfIPTables(t *testing.T) {
	t.Parallel()
	rule := func(family, table, chain, text string) Rule {
		return Rule{Backend: "iptables-legacy", Family: family, Table: table, Chain: chain, Kind: KindRule, Text: text, Counted: true}
	}
	policy := rule("ip", "nat", "POSTROUTING", "DROP")
	policy.Kind = KindPolicy
	var got []string
	for _, d := range iptablesDrops([]Rule{
		rule("ip", "filter", "INPUT", "-p tcp -j WEB"),
		rule("ip", "filter", "FORWARD", `-m comment --comment "-j DROP" -g WEB`),
		rule("ip", "filter", "WEB", "-p tcp -j REJECT --reject-with tcp-reset"),
		rule("ip", "filter", "ALONE", "-j DROP"),
		rule("ip6", "filter", "WEB", "-j DROP"),
		rule("ip", "raw", "PREROUTING", "-j CT --notrack"),
		policy,
	}) {
		got = append(got, d.Hook.String()+" "+d.Rule.String())
	}
	want := []string{
		"input iptables-legacy ip filter WEB: -p tcp -j REJECT --reject-with tcp-reset [packets 0 bytes 0]",
		"forward iptables-legacy ip filter WEB: -p tcp -j REJECT --reject-with tcp-reset [packets 0 bytes 0]",
		"postrouting iptables-legacy ip nat POSTROUTING: policy DROP [packets 0 bytes 0]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if at, _ := iptablesBase("nat", "POSTROUTING"); at.priority != nf.PrioritySNAT {
		t.Errorf("nat POSTROUTING at %d", at.priority)
	}
}

func TestLossNamesTheMostFrequentRules(t *testing.T) {
	t.Parallel()
	drop := func(text string, packets, traced uint64) Drop {
		return Drop{Hook: nf.Input, Traced: traced, Rule: Rule{
			Backend: "nft", Family: "ip", Table: "u", Chain: "in", Kind: KindRule, Text: text, Counted: packets > 0, Packets: packets,
		}}
	}
	counts := arrive(9, 9)
	for _, name := range []string{"security/input", "nat/input", "confirm/input", "confirmed/input"} {
		counts[name] = 0
	}
	p := pathOf(func(p nf.Probe) uint64 { return counts[p.Name] })
	p.Drops = []Drop{drop("a", 1, 0), drop("b", 0, 5), drop("c", 2, 0), drop("d", 0, 0), drop("e", 1, 0)}
	early, late := p.Drops[0], p.Drops[0]
	early.Priority, late.Hook = nf.PriorityMangle, nf.Output
	p.Drops = append(p.Drops, early, late)
	want := "dropped by nft ip u in: b [dropped 5]; nft ip u in: c [packets 2 bytes 0]; nft ip u in: a [packets 1 bytes 0]; 1 more"
	if l := p.Losses(); len(l) != 1 || l[0].Why() != want {
		t.Errorf("got  %v\nwant %s", l, want)
	}
	after := slices.Clone(p.Drops)
	after[1].Traced = 7
	if d := subList(after, p.Drops, Drop.key, (*Drop).sub); d[1].Traced != 2 || d[0].Rule.Packets != 0 {
		t.Errorf("difference %v", d)
	}
}
