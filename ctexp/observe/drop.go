package observe

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Drop is a rule, or a policy, that drops packets, at one of the places from which it is reached.
type Drop struct {
	Rule Rule
	Hook nf.Hook
	// Priority is that of the base chain which the rule is in or is reached from.
	Priority int32
	// Traced counts the traced packets that it dropped.
	Traced uint64
}

// String prints the rule, and how many traced packets it dropped.
func (d Drop) String() string {
	if d.Traced > 0 {
		return fmt.Sprintf("%v [dropped %d]", d.Rule, d.Traced)
	}
	return d.Rule.String()
}

// dropped is the number of packets that it has dropped or at least has seen.
func (d Drop) dropped() uint64 {
	if d.Traced > 0 {
		return d.Traced
	}
	return d.Rule.Packets
}

// key is d without its counts.
func (d Drop) key() Drop {
	d.Traced, d.Rule.Packets, d.Rule.Bytes = 0, 0, 0
	return d
}

// subDrops returns what was dropped between before and after.
func subDrops(after, before []Drop) []Drop {
	earlier := map[Drop]Drop{}
	for _, d := range before {
		earlier[d.key()] = d
	}
	var drops []Drop
	for _, d := range after {
		b := earlier[d.key()]
		d.Traced = monus(d.Traced, b.Traced)
		d.Rule.Packets, d.Rule.Bytes = monus(d.Rule.Packets, b.Rule.Packets), monus(d.Rule.Bytes, b.Rule.Bytes)
		drops = append(drops, d)
	}
	return drops
}

// droppedByRule is what a loss says of a stage between whose probes nothing but rules can drop.
const droppedByRule = "dropped by a rule"

// mostDrops is how many rules a loss names.
const mostDrops = 3

// byRule says by which of the rules between two probes packets were dropped: by those that have counted some, or were seen
// to drop some; if there is none, by which it may have been.
func (p Path) byRule(from, to nf.Probe) string {
	var sure, maybe []Drop
	for _, d := range p.Drops {
		switch {
		case d.Hook != from.Hook || d.Priority < from.Priority || d.Priority > to.Priority || !d.Rule.meets(from.Family):
		case d.dropped() > 0:
			sure = append(sure, d)
		case !d.Rule.Counted:
			maybe = append(maybe, d)
		}
	}
	slices.SortStableFunc(sure, func(a, b Drop) int { return cmp.Compare(b.dropped(), a.dropped()) })
	switch {
	case len(sure) > 0:
		return "dropped by " + listed(sure, "; ")
	case len(maybe) == 1:
		return droppedByRule + ", the only one there: " + listed(maybe, "")
	case len(maybe) > 1:
		return droppedByRule + ", one of " + listed(maybe, "; ")
	}
	return droppedByRule
}

func listed(drops []Drop, separator string) string {
	var s []string
	for _, d := range drops {
		s = append(s, d.String())
	}
	if more := len(s) - mostDrops; more > 0 {
		s = append(s[:mostDrops], fmt.Sprintf("%d more", more))
	}
	return strings.Join(s, separator)
}

// meets reports whether a rule meets packets of a family.
func (r Rule) meets(f nf.Family) bool {
	switch r.Family {
	case "ip":
		return f == nf.IPv4
	case "ip6":
		return f == nf.IPv6
	}
	return r.Family == "inet" || r.Family == "netdev"
}
