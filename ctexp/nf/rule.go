package nf

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// Variant is one of the two iptables, by the name of its binary. Both speak the same language, to different parts of the kernel.
type Variant string

// The variants of iptables. Legacy rules live in tables of their own (ip_tables), NFT rules in nftables.
const (
	IPTablesLegacy Variant = "iptables-legacy"
	IPTablesNFT    Variant = "iptables-nft"
)

// Rule is one line of the user's ruleset, as text, with what it has counted.
type Rule struct {
	Backend string   // "nft", "iptables-nft" or "iptables-legacy"
	Family  string   // as nft calls it: "ip", "ip6", "inet", "arp", "bridge", "netdev"
	Table   string   // name of its table
	Chain   string   // name of its chain; empty for a named counter
	Handle  uint64   // the kernel's number of a rule of nftables, unique in its table; else 0
	Kind    RuleKind // what the line is
	// Text is the rule without what it has counted: as nft -s list ruleset prints it, or as iptables -S does behind the name of
	// the chain. Of a policy it is the verdict, of a named counter its name.
	Text           string
	Comment        string // the comment of a rule of nftables, which is in Text as well
	Counted        bool   // the kernel counts here; false: Packets and Bytes say nothing
	Packets, Bytes uint64 // what it has counted since it was made
}

// RuleKind is what a Rule is.
type RuleKind string

// The kinds of lines.
const (
	KindRule    RuleKind = "rule"
	KindPolicy  RuleKind = "policy"  // what becomes of packets at the end of a base chain
	KindCounter RuleKind = "counter" // a named counter of a table
)

// String prints the rule as one line: "nft ip filter input: tcp dport 80 counter drop [packets 10 bytes 400]".
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

// RulesError says what is wrong with a text of rules, all of it that can be told: unknown words, sets, chains, targets and
// matches that are missing, modules that the kernel lacks, and links that the namespace does not have. Nothing of an nft text
// or of single commands is loaded then, and of a text for iptables-restore nothing, unless it was the kernel that refused a
// table: then those before it are. Where nothing but modules is missing, errors.Is(err, errors.ErrUnsupported) holds.
type RulesError struct {
	Rules    string        // what they are for: "nft", "iptables-legacy" or "iptables-nft"
	Problems []RuleProblem // in the order of their lines
	Said     string        // what the program has said, where the Problems do not say it all
	Err      error         // an UnsupportedError if only modules are missing, or how the program ended; nil if links are missing
}

// RuleProblem is one thing that is wrong with a line.
type RuleProblem struct {
	Line int    // from 1; of single iptables commands their number
	Text string // the line
	Why  string // what is wrong with it
	Link string // the link that is missing, if that is why
	// Module is the module of the kernel that is missing, if that is why; its name is one that modprobe knows.
	Module string
}

// Error lists the problems line by line.
func (e *RulesError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s rules:", e.Rules)
	var exit *exec.ExitError // its status says nothing beside what the program has said
	if e.Err != nil && !(errors.As(e.Err, &exit) && (len(e.Problems) > 0 || e.Said != "")) {
		fmt.Fprintf(&b, " %v:", e.Err)
	}
	for _, p := range e.Problems {
		fmt.Fprintf(&b, "\nline %d: %s: %s", p.Line, p.Why, strings.TrimSpace(p.Text))
	}
	if e.Said != "" {
		fmt.Fprintf(&b, "\n%s", e.Said)
	}
	return b.String()
}

// Unwrap returns Err.
func (e *RulesError) Unwrap() error { return e.Err }
