package ruleset

import (
	"cmp"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Drop is a rule or policy that drops packets, for one of the base chains from which it is reached.
type Drop struct {
	Rule    nf.Rule
	Verdict string // "drop", "reject", or the target of an iptables such as "DROP"
	// CountsOthers says that what the rule has counted need not have been dropped: Verdict is one of those of a verdict map, or
	// the counter stands before a match, as in "counter ip ttl 1 drop".
	CountsOthers bool
	Hook         nf.Hook
	Priority     int32 // of the base chain which the rule is in or is reached from
	Uncounted    bool  // no probe of ours counts what is dropped there; see HasUncounted
}

// Drops returns the rules and policies that drop packets, once for each base chain from which they are reached.
func (s Ruleset) Drops() []Drop {
	drops := iptablesDrops(s.legacy)
	for _, t := range s.tables {
		drops = append(drops, t.drops()...)
	}
	return drops
}

// HasNAT reports whether there is a chain of NAT for a family. Any of them makes the kernel's NAT see all packets of the
// family in each of its hooks (net/netfilter/nf_nat_core.c, nf_nat_register_fn).
func (s Ruleset) HasNAT(f nf.Family) bool {
	name := map[nf.Family]string{nf.IPv4: "ip", nf.IPv6: "ip6"}[f]
	for _, t := range s.tables {
		if is := FamilyName(t.family); (is == "inet" || is == name) && slices.ContainsFunc(t.chains, func(c chain) bool { return c.nat }) {
			return true
		}
	}
	return slices.ContainsFunc(s.legacy, func(r nf.Rule) bool { return r.Table == "nat" && r.Family == name })
}

func (t *table) drops() []Drop {
	var found []Drop // without hook and priority
	for _, c := range t.chains {
		for _, r := range c.rules {
			if verdict, byMap := r.drops(); verdict != "" {
				found = append(found, Drop{Rule: r.line, Verdict: verdict, CountsOthers: byMap || r.matchesBehindCounter()})
			}
		}
		if c.base && c.drop {
			found = append(found, Drop{Rule: t.policy(c), Verdict: "drop"})
		}
	}
	bases, jumps := t.ways()
	return placed(found, bases, jumps)
}

// ways returns the places of the base chains, and to which chains the rules of each chain lead.
func (t *table) ways() (bases map[string]place, jumps map[string][]string) {
	bases, jumps = map[string]place{}, map[string][]string{}
	for _, c := range t.chains {
		jumps[c.name] = nil
		for _, r := range c.rules {
			jumps[c.name] = append(jumps[c.name], r.leads()...)
		}
		if !c.base {
			continue
		}
		at := place{c.hook, c.priority, c.uncounted}
		if t.family == unix.NFPROTO_NETDEV {
			at.hook = map[nf.Hook]nf.Hook{unix.NF_NETDEV_INGRESS: nf.Ingress, unix.NF_NETDEV_EGRESS: nf.Egress}[at.hook]
		}
		bases[c.name] = at
	}
	return bases, jumps
}

// drops returns the verdict by which a rule may drop a packet, or "", and whether that is one of a verdict map.
func (r rule) drops() (by string, byMap bool) {
	for _, e := range r.exprs {
		switch e.name {
		case "immediate":
			if v, ok := e.verdict(unix.NFTA_IMMEDIATE_DATA); ok && v.drops() {
				by = "drop"
			}
		case "reject":
			by = "reject"
		case "target": // of iptables-nft
			if name := e.text(unix.NFTA_TARGET_NAME); slices.Contains(iptablesDropTargets, name) {
				by = name
			}
		}
	}
	if by == "" && slices.ContainsFunc(r.mapped, verdict.drops) {
		return "drop", true
	}
	return by, false
}

// leads returns to which chains a rule may lead.
func (r rule) leads() (to []string) {
	for _, e := range r.exprs {
		switch e.name {
		case "immediate":
			if v, ok := e.verdict(unix.NFTA_IMMEDIATE_DATA); ok && v.jumps() {
				to = append(to, v.to)
			}
		case "lookup":
			if e.looksUpVerdict() {
				to = append(to, anywhere) // the elements of a map may have changed since
			}
		}
	}
	return to
}

// passing are the expressions that end a rule for no packet, or only for one of which it disposes. The others may be matches.
var passing = []string{"counter", "immediate", "log", "reject", "target"}

// matchesBehindCounter reports whether a packet that the rule has counted may not have got to its end. In a rule of iptables-nft the
// counter is behind the matches.
func (r rule) matchesBehindCounter() bool {
	i := slices.IndexFunc(r.exprs, func(e expression) bool { return e.name == "counter" })
	return i >= 0 && slices.ContainsFunc(r.exprs[i:], func(e expression) bool { return !slices.Contains(passing, e.name) })
}

// looksUpVerdict reports whether an expression looks up a verdict map.
func (e expression) looksUpVerdict() bool {
	_, isMap := e.attrs[unix.NFTA_LOOKUP_DREG]
	return e.name == "lookup" && isMap && e.u32(unix.NFTA_LOOKUP_DREG) == unix.NFT_REG_VERDICT
}

// iptablesDropTargets has the iptables targets that drop a packet.
var iptablesDropTargets = []string{"DROP", "REJECT", "TARPIT", "STEAL"}

// iptablesHooks has the hooks of iptables' built-in chains.
var iptablesHooks = map[string]nf.Hook{
	"PREROUTING": nf.Prerouting, "INPUT": nf.Input, "FORWARD": nf.Forward, "OUTPUT": nf.Output, "POSTROUTING": nf.Postrouting,
}

// iptablesPriorities has the priorities of iptables' tables.
var iptablesPriorities = map[string]int32{
	"raw": nf.PriorityRaw, "mangle": nf.PriorityMangle, "nat": nf.PriorityDNAT, "filter": nf.PriorityFilter, "security": nf.PrioritySecurity,
}

// iptablesBase returns the place of a built-in chain of iptables; ok is false for a user-defined chain.
func iptablesBase(table, chain string) (at place, ok bool) {
	hook, isBase := iptablesHooks[chain]
	priority, isTable := iptablesPriorities[table]
	if table == "nat" && (hook == nf.Input || hook == nf.Postrouting) {
		priority = nf.PrioritySNAT
	}
	return place{hook: hook, priority: priority}, isBase && isTable
}

// iptablesDrops returns the drops of iptables-legacy, whose rules are sorted by table.
func iptablesDrops(rules []nf.Rule) (drops []Drop) {
	return iptablesPlaced(rules, func(_ nf.Rule, target string) bool { return slices.Contains(iptablesDropTargets, target) })
}

// iptablesPlaced returns the rules of iptables-legacy that are kept by their target, as drops at each place.
func iptablesPlaced(rules []nf.Rule, keep func(r nf.Rule, target string) bool) (all []Drop) {
	for len(rules) > 0 {
		bases, jumps := map[string]place{}, map[string][]string{}
		var found []Drop
		first, n := rules[0], 0
		for ; n < len(rules) && rules[n].Family == first.Family && rules[n].Table == first.Table; n++ {
			r := rules[n]
			if at, ok := iptablesBase(r.Table, r.Chain); ok {
				bases[r.Chain] = at
			}
			target := iptablesTarget(r) // a chain or a built-in target, which no chain can have the name of
			jumps[r.Chain] = append(jumps[r.Chain], target)
			if keep(r, target) {
				found = append(found, Drop{Rule: r, Verdict: target})
			}
		}
		all = append(all, placed(found, bases, jumps)...)
		rules = rules[n:]
	}
	return all
}

// iptablesTarget returns the target of a rule, or the policy; "" for a rule without a target.
func iptablesTarget(r nf.Rule) string {
	if r.Kind == nf.KindPolicy {
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

// place is the hook and priority of a base chain.
type place struct {
	hook      nf.Hook
	priority  int32
	uncounted bool
}

// anywhere is the target of a verdict map, which may jump to any chain of the table.
const anywhere = "*"

// reached returns the places of the base chains from which each chain of a table is reached. jumps has the targets of
// each chain's jumps.
func reached(bases map[string]place, jumps map[string][]string) map[string][]place {
	all := map[string]bool{}
	for from, tos := range jumps {
		all[from] = true
		for _, to := range tos {
			all[to] = true
		}
	}
	from := map[string][]place{}
	for name, base := range bases {
		seen := map[string]bool{}
		next := []string{name}
		for len(next) > 0 {
			chain := next[0]
			next = next[1:]
			if _, isBase := bases[chain]; seen[chain] || isBase && chain != name {
				continue
			}
			seen[chain] = true
			if chain != anywhere {
				from[chain] = append(from[chain], base)
			}
			for _, to := range jumps[chain] {
				next = append(next, to)
				if to == anywhere {
					for c := range all {
						next = append(next, c)
					}
				}
			}
		}
	}
	for _, places := range from {
		slices.SortFunc(places, func(a, b place) int {
			return cmp.Or(cmp.Compare(a.hook, b.hook), cmp.Compare(a.priority, b.priority))
		})
	}
	return from
}

// placed returns a copy of each drop for each place from which its chain is reached.
func placed(found []Drop, bases map[string]place, jumps map[string][]string) []Drop {
	from := reached(bases, jumps)
	var drops []Drop
	for _, d := range found {
		for _, at := range from[d.Rule.Chain] {
			d.Hook, d.Priority, d.Uncounted = at.hook, at.priority, at.uncounted
			drops = append(drops, d)
		}
	}
	return drops
}
