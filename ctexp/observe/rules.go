package observe

import (
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Rule is a line of the user's ruleset as text, with its counters.
type Rule = nf.Rule

// RuleKind is the kind of a Rule.
type RuleKind = nf.RuleKind

// The kinds of rules.
const (
	KindRule    = nf.KindRule
	KindPolicy  = nf.KindPolicy  // the policy of a base chain
	KindCounter = nf.KindCounter // a named counter of a table
)

// Drop is a rule or policy that drops packets, at one of the places from which it is reached.
type Drop struct {
	Rule    Rule   // the rule or policy with its own counters
	Verdict string // how it drops: "drop", "reject", or an iptables target such as "DROP"
	// CountsOthers says that what Rule has counted need not have been dropped: Verdict is one of a verdict map, or the counter
	// stands before a match, as in "counter ip ttl 1 drop".
	CountsOthers bool

	Hook     nf.Hook // hook of the base chain that contains the rule or leads to it
	Priority int32   // of the base chain that contains the rule or leads to it
	Traced   uint64  // number of traced packets that it dropped
	// Uncounted says that no probe counts what is dropped there; see Path.Uncounted.
	Uncounted bool
}

// String prints the rule and how many traced packets it dropped.
func (d Drop) String() string {
	if d.Traced > 0 {
		return fmt.Sprintf("%v [dropped %d]", d.Rule, d.Traced)
	}
	return d.Rule.String()
}

// dropped returns how many packets it dropped, or at least counted.
func (d Drop) dropped() uint64 {
	if d.Traced > 0 || d.CountsOthers {
		return d.Traced
	}
	return d.Rule.Packets
}

// mayHaveDropped reports whether d may have dropped packets that its counter does not show.
func (d Drop) mayHaveDropped() bool { return !d.Rule.Counted || d.CountsOthers && d.Rule.Packets > 0 }

// key returns d without its counts.
func (d Drop) key() Drop {
	d.Traced, d.Rule.Packets, d.Rule.Bytes = 0, 0, 0
	return d
}

// sub subtracts the counts of b. It keeps every rule.
func (d *Drop) sub(b Drop) bool {
	d.Traced = saturatingSub(d.Traced, b.Traced)
	d.Rule.Packets, d.Rule.Bytes = saturatingSub(d.Rule.Packets, b.Rule.Packets), saturatingSub(d.Rule.Bytes, b.Rule.Bytes)
	return true
}
