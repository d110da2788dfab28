package observe

import (
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Rule is one line of the user's ruleset, as text, with what it has counted.
type Rule = nf.Rule

// RuleKind is what a Rule is.
type RuleKind = nf.RuleKind

// The kinds of lines.
const (
	KindRule    = nf.KindRule
	KindPolicy  = nf.KindPolicy  // what becomes of packets at the end of a base chain
	KindCounter = nf.KindCounter // a named counter of a table
)

// Drop is a rule, or a policy, that drops packets, at one of the places from which it is reached.
type Drop struct {
	Rule     Rule
	Verdict  string // how it drops them: "drop", "reject", or the target of an iptables such as "DROP"
	Hook     nf.Hook
	Priority int32  // of the base chain which the rule is in or is reached from
	Traced   uint64 // how many traced packets it dropped
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

// sub subtracts the counts of b, and keeps every rule.
func (d *Drop) sub(b Drop) bool {
	d.Traced = saturatingSub(d.Traced, b.Traced)
	d.Rule.Packets, d.Rule.Bytes = saturatingSub(d.Rule.Packets, b.Rule.Packets), saturatingSub(d.Rule.Bytes, b.Rule.Bytes)
	return true
}
