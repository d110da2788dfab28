package netnsenv

import (
	"errors"
	"fmt"
	"os/exec"
	"path"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// RulesError says what is wrong with a text of rules, all of it that can be told: unknown words, sets, chains, targets and
// matches that are missing, modules that the kernel lacks, and links that the Env does not have. Nothing of an nft text or of
// single commands is loaded then, and of a text for iptables-restore nothing, unless it was the kernel that refused a table:
// then those before it are. Where nothing but modules is missing, errors.Is(err, errors.ErrUnsupported) holds.
type RulesError struct {
	Rules    string // what they are for: "nft", "iptables-legacy" or "iptables-nft"
	Problems []RuleProblem
	Said     string // what the program has said, where the Problems do not say it all
	Err      error  // an nf.UnsupportedError if only modules are missing, or how the program ended; nil if links are missing
}

// RuleProblem is one thing that is wrong with a line.
type RuleProblem struct {
	Line int // from 1; of single iptables commands their number
	Text string
	Why  string
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

// MissingLinks returns r with the allowance to name these links, which the Env need not have; without names any. A rule
// for a link that there is not never matches, so that without this it is an error:
//
//	netnsenv.MissingLinks(netnsenv.IPTablesSave(v, production), "docker0", "br-*")
//
// Wildcards (eth+ of iptables, "eth*" of nft) are no error in any case, nor is what Go code says. What nft or the kernel
// refuse by themselves, such as iif or the devices of a flowtable, this does not make them take.
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
		p := RuleProblem{Line: u.line, Text: textOf(u.line), Why: noLink(u.name, there) + " (MissingLinks allows it)"}
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// noLink says which links there are instead; the far ends of veth are ours.
func noLink(name string, there []string) string {
	there = slices.DeleteFunc(slices.Clone(there), func(n string) bool { return strings.HasPrefix(n, ours.FarPrefix) })
	return fmt.Sprintf("there is no link %q, only %s", name, strings.Join(there, ", "))
}

// onlyModules returns the error of rules that nothing but modules is missing for, or nil.
func onlyModules(problems []RuleProblem) error {
	var names []string
	for _, p := range problems {
		if p.Module == "" {
			return nil
		}
		if !slices.Contains(names, p.Module) {
			names = append(names, p.Module)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return &nf.UnsupportedError{
		Need: names[0],
		Hint: fmt.Sprintf("sudo modprobe -a %s, or another kernel", strings.Join(names, " ")),
	}
}

func lacks(module string) string { return "the kernel lacks the module " + module }
