package ruleset

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func TestChainsAreReached(t *testing.T) {
	t.Parallel()
	in, out := place{hook: nf.Input}, place{hook: nf.Output}
	bases := map[string]place{"in": in, "out": out}
	got := reached(bases, map[string][]string{
		"in": {"a"}, "out": {"b"}, "a": {"b", "a", "out"}, "b": {"a"}, "alone": {"b"}, "c": nil,
	})
	want := map[string][]place{"in": {in}, "out": {out}, "a": {in, out}, "b": {in, out}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(place{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	got = reached(bases, map[string][]string{"in": {anywhere}, "out": nil, "x": nil, "y": nil})
	want = map[string][]place{"in": {in}, "out": {out}, "x": {in}, "y": {in}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(place{})); diff != "" {
		t.Errorf("by a verdict map (-want +got):\n%s", diff)
	}
}

func TestDropsOfIPTables(t *testing.T) {
	t.Parallel()
	rule := func(family, table, chain, text string) nf.Rule {
		return nf.Rule{Backend: "iptables-legacy", Family: family, Table: table, Chain: chain, Kind: nf.KindRule, Text: text, Counted: true}
	}
	policy := rule("ip", "nat", "POSTROUTING", "DROP")
	policy.Kind = nf.KindPolicy
	var got []string
	for _, d := range iptablesDrops([]nf.Rule{
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
