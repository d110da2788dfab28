package observe

import "fmt"

// Rule is one line of the user's ruleset, as text, with what it has counted.
type Rule struct {
	Backend string // "nft", "iptables-nft" or "iptables-legacy"
	Family  string // as nft calls it: "ip", "ip6", "inet", "arp", "bridge", "netdev"
	Table   string
	Chain   string // empty for a named counter
	Kind    RuleKind
	// Text is the rule without its counter: as iptables -S prints it behind the name of the chain, or of nft its
	// comment if it has one, else a short rendering that says as much as it can; of a policy its verdict, of a named
	// counter its name.
	Text           string
	Counted        bool // the kernel counts here; false: Packets and Bytes say nothing
	Packets, Bytes uint64
}

// RuleKind is what a Rule is.
type RuleKind string

// The kinds of lines.
const (
	KindRule    RuleKind = "rule"
	KindPolicy  RuleKind = "policy"  // what becomes of packets at the end of a base chain
	KindCounter RuleKind = "counter" // a named counter of a table
)

// String prints the rule as one line: "nft ip filter input: tcp dport 80 drop [packets 10 bytes 400]".
func (r Rule) String() string {
	s := fmt.Sprintf("%s %s %s", r.Backend, r.Family, r.Table)
	if r.Chain != "" {
		s += " " + r.Chain
	}
	s += ": "
	if r.Kind == KindPolicy || r.Kind == KindCounter {
		s += string(r.Kind) + " "
	}
	s += r.Text
	if r.Counted {
		s += fmt.Sprintf(" [packets %d bytes %d]", r.Packets, r.Bytes)
	}
	return s
}
