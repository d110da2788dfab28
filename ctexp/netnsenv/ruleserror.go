package netnsenv

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// RulesError says what is wrong with a text of rules, all of it that can be told: unknown words, sets, chains, targets and
// matches that are missing, and links that the Env does not have. Nothing of an nft text is loaded then, and of a text for
// iptables-restore nothing, unless it was the kernel that refused a table: then those before it are.
type RulesError struct {
	Rules    string // what they are for: "nft", "iptables-legacy" or "iptables-nft"
	Problems []RuleProblem
	Said     string // what the program has said, where the Problems do not say it all
	Err      error  // how the program ended; nil if only links are missing
}

// RuleProblem is one thing that is wrong with a line.
type RuleProblem struct {
	Line int // from 1; of single iptables commands their number
	Text string
	Why  string
}

// Error lists the problems line by line.
func (e *RulesError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s rules:", e.Rules)
	if e.Err != nil {
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

// Unwrap returns how the program ended.
func (e *RulesError) Unwrap() error { return e.Err }

// MissingLinks returns r with the allowance to name these links, which the Env need not have; without names any. A rule
// for a link that there is not never matches, so that without this it is an error:
//
//	netnsenv.MissingLinks(netnsenv.IPTablesSave(v, production), "docker0", "br-*")
//
// Wildcards (eth+ of iptables, "eth*" of nft) are no error in any case, nor is what Go code says.
func MissingLinks(r Ruleset, names ...string) Ruleset {
	if len(names) == 0 {
		names = []string{"*"}
	}
	switch r := r.(type) {
	case nftText:
		r.mayLack = append(slices.Clone(r.mayLack), names...)
		return r
	case saveText:
		r.mayLack = append(slices.Clone(r.mayLack), names...)
		return r
	case singleCommands:
		r.mayLack = append(slices.Clone(r.mayLack), names...)
		return r
	}
	return r
}

// linkUse is the name of a link in a text of rules.
type linkUse struct {
	name string
	line int
}

// missingLinks returns a problem for each name that is neither among those that are there nor allowed to be missing.
func missingLinks(uses []linkUse, there, mayLack []string, textOf func(line int) string) []RuleProblem {
	var out []RuleProblem
	for _, u := range uses {
		allowed := func(pattern string) bool {
			ok, err := path.Match(pattern, u.name)
			return ok && err == nil
		}
		if u.name == "" || strings.HasSuffix(u.name, "+") || strings.HasSuffix(u.name, "*") ||
			slices.Contains(there, u.name) || slices.ContainsFunc(mayLack, allowed) {
			continue
		}
		out = append(out, RuleProblem{
			Line: u.line, Text: textOf(u.line),
			Why: fmt.Sprintf("there is no link %q, only %s (MissingLinks allows it)", u.name, strings.Join(there, ", ")),
		})
	}
	return out
}
