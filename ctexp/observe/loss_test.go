package observe

import (
	"slices"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

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
