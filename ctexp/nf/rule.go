package nf

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/ctexp/go-ctexp/internal/plain"
)

// Variant is one of the two iptables, by the name of its binary. Both have the same syntax but use different kernel
// interfaces.
type Variant string

// The variants of iptables. Legacy rules are in tables of their own (ip_tables), NFT rules in nftables.
const (
	IPTablesLegacy Variant = "iptables-legacy"
	IPTablesNFT    Variant = "iptables-nft"
)

// Rule is a rule, a chain's policy or a named counter of the user's ruleset, as text, with its counter.
type Rule struct {
	Backend string   // "nft", "iptables-nft" or "iptables-legacy"
	Family  string   // by nft's name: "ip", "ip6", "inet", "arp", "bridge", "netdev"
	Table   string   // name of the table
	Chain   string   // name of the chain; empty for a named counter
	Handle  uint64   // the handle of an nftables rule, unique in its table; else 0
	Kind    RuleKind // rule, policy or named counter
	// Text is the rule without its counter, as nft -s list ruleset prints it, or as iptables -S prints it after the
	// name of the chain. For a policy it is the verdict, for a named counter the name.
	Text           string
	Comment        string // the comment of an nftables rule, which Text contains as well
	Counted        bool   // the kernel counts packets here; false: Packets and Bytes are meaningless
	Packets, Bytes uint64 // the counter, since the rule was created
}

// RuleKind is the kind of a Rule.
type RuleKind string

// The kinds of rules.
const (
	KindRule    RuleKind = "rule"
	KindPolicy  RuleKind = "policy"  // the policy of a base chain
	KindCounter RuleKind = "counter" // a named counter
)

// String returns the rule as one line, in which what is not visible is escaped: "nft ip filter input: tcp dport 80 counter drop [packets 10 bytes 400]".
func (r Rule) String() string {
	s := fmt.Sprintf("%s %s %s", r.Backend, r.Family, r.Table)
	if r.Chain != "" {
		s += " " + r.Chain
	}
	s += ": "
	if r.Kind == KindPolicy || r.Kind == KindCounter {
		s += string(r.Kind) + " "
	}
	s = plain.Line(s + r.Text)
	if r.Counted {
		s += fmt.Sprintf(" [packets %d bytes %d]", r.Packets, r.Bytes)
	}
	return s
}

// RulesError lists all problems found in the text of a ruleset: syntax errors, missing sets, chains, targets and
// matches, missing kernel modules, and links that the namespace does not have. Nothing has been loaded, with one
// exception: if the kernel refused a table of an iptables-restore text, the tables before it have been loaded. If only
// modules are missing, errors.Is(err, errors.ErrUnsupported) holds.
type RulesError struct {
	Rules    string        // the kind of rules: "nft", "iptables-legacy" or "iptables-nft"
	Problems []RuleProblem // in the order of the lines
	Output   string        // the program's error output, if Problems does not cover all of it
	Err      error         // an UnsupportedError if only modules are missing, or the program's exit error; nil if links are missing
}

// RuleProblem is a problem with one line of a ruleset.
type RuleProblem struct {
	// File is the included file that the problem is in, as the text names it; empty: it is in the text itself.
	File string
	Line int // counted from 1; for iptables commands the number of the command
	// Column is the byte of the line where the program found the problem, counted from 1; zero: not known.
	Column  int
	Text    string // the line
	Why     string // what is wrong
	Link    string // the missing link, if that is the problem
	Keyword string // the name that is a keyword of the language, if that is the problem; other lines may use it, too
	// Module is the missing kernel module, if that is the problem, by a name that modprobe knows.
	Module string
}

// maxProblems is how many problems Error lists. Where one rule is refused, older kernels refuse all that follow.
const maxProblems = 20

// Error lists the first 20 problems line by line, and the number of the others. What is not visible in the rules is escaped.
func (e *RulesError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s rules:", e.Rules)
	var exit *exec.ExitError // the exit status adds nothing to the program's output
	if e.Err != nil && !(errors.As(e.Err, &exit) && (len(e.Problems) > 0 || e.Output != "")) {
		fmt.Fprintf(&b, " %v:", e.Err)
	}
	for i, p := range e.Problems {
		if i == maxProblems {
			fmt.Fprintf(&b, "\n… %d more, which may only follow from the first", len(e.Problems)-i)
			break
		}
		b.WriteByte('\n')
		if p.File != "" {
			fmt.Fprintf(&b, "%s: ", p.File)
		}
		fmt.Fprintf(&b, "line %d", p.Line)
		if p.Column > 0 {
			fmt.Fprintf(&b, ", column %d", p.Column)
		}
		fmt.Fprintf(&b, ": %s: %s", p.Why, strings.TrimSpace(p.Text))
	}
	if e.Output != "" {
		fmt.Fprintf(&b, "\n%s", e.Output)
	}
	return plain.Text(b.String())
}

// Unwrap returns Err.
func (e *RulesError) Unwrap() error { return e.Err }
