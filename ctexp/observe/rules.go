package observe

import "github.com/ctexp/go-ctexp/ctexp/nf"

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
