package observe

import (
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// iptablesDropTargets are the targets of iptables behind which a packet is gone.
var iptablesDropTargets = []string{"DROP", "REJECT", "TARPIT", "STEAL"}

// iptablesBase returns where a built-in chain of iptables stands; ok is false for a chain of the user's. In nat it depends
// on what is translated.
func iptablesBase(table, chain string) (at attached, ok bool) {
	hook, ok := map[string]nf.Hook{
		"PREROUTING": nf.Prerouting, "INPUT": nf.Input, "FORWARD": nf.Forward, "OUTPUT": nf.Output, "POSTROUTING": nf.Postrouting,
	}[chain]
	if !ok {
		return attached{}, false
	}
	priority, ok := map[string]int32{
		"raw": nf.PriorityRaw, "mangle": nf.PriorityMangle, "nat": nf.PriorityDNAT, "filter": nf.PriorityFilter, "security": nf.PrioritySecurity,
	}[table]
	if table == "nat" && (hook == nf.Input || hook == nf.Postrouting) {
		priority = nf.PrioritySNAT
	}
	return attached{hook, priority}, ok
}

// iptablesDrops returns those of iptables-legacy.
func iptablesDrops(rules []Rule) []Drop {
	type table struct{ family, name string }
	byTable := map[table][]Rule{}
	var order []table
	for _, r := range rules {
		t := table{r.Family, r.Table}
		if byTable[t] == nil {
			order = append(order, t)
		}
		byTable[t] = append(byTable[t], r)
	}
	var drops []Drop
	for _, t := range order {
		bases, jumps := map[string]attached{}, map[string][]string{}
		var found []Drop
		for _, r := range byTable[t] {
			if at, ok := iptablesBase(r.Table, r.Chain); ok {
				bases[r.Chain] = at
			}
			target := iptablesTarget(r) // of the kernel's own, too, which no chain has the name of
			jumps[r.Chain] = append(jumps[r.Chain], target)
			if slices.Contains(iptablesDropTargets, target) {
				found = append(found, Drop{Rule: r})
			}
		}
		drops = append(drops, placed(found, bases, jumps)...)
	}
	return drops
}

// iptablesTarget returns the target of a rule, or the policy; "" for a rule without a target.
func iptablesTarget(r Rule) string {
	if r.Kind == KindPolicy {
		return r.Text
	}
	words := splitWords(r.Text)
	for i := range len(words) - 1 {
		if words[i] == "-j" || words[i] == "-g" {
			return words[i+1]
		}
	}
	return ""
}
