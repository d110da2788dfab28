package netnsenv

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// missing returns a problem for each link that rules name and that is not in the namespace.
func (e *Env) missing(uses []linkUse, mayLack []string, text string) ([]RuleProblem, error) {
	if len(uses) == 0 {
		return nil, nil
	}
	links, err := e.route.Link.List()
	if err != nil {
		if e.FD() < 0 {
			return nil, ErrClosed
		}
		return nil, fmt.Errorf("list the links: %w", err)
	}
	var there []string
	for _, l := range links {
		there = append(there, l.Attributes.Name)
	}
	return missingLinks(uses, there, mayLack, func(n int) string { return line(text, n) }), nil
}

// trial has a program look at a text without loading it, and returns the problems that it has named and what else it said.
// Some programs end at the first one.
type trial func(text string) (problems []RuleProblem, said string, ok bool)

// rulesError returns nil, or an error with all that is wrong: the links that are missing, and, where those are or the program
// has failed, what it complains about line by line when it does not see the lines it has complained about before.
func rulesError(rules, text string, bad []RuleProblem, said string, err error, try trial) error {
	if err == nil && len(bad) == 0 {
		return nil
	}
	const most = 50 // lines to complain about
	lines := strings.Split(text, "\n")
	found, more := false, true
	for i := 0; more && i < most; i++ {
		problems, _, ok := try(strings.Join(lines, "\n"))
		more = false
		if ok {
			break
		}
		for _, p := range problems {
			if p.Line < 1 || p.Line > len(lines) || lines[p.Line-1] == "" || strings.TrimSpace(lines[p.Line-1]) == "COMMIT" {
				continue
			}
			p.Text = line(text, p.Line)
			bad = append(bad, p)
			found = true
			if more = isRule(lines[p.Line-1]); !more {
				break // without it the rest would mean something else
			}
			lines[p.Line-1] = ""
		}
	}
	slices.SortStableFunc(bad, func(a, b RuleProblem) int { return a.Line - b.Line })
	out := &RulesError{Rules: rules, Problems: bad, Err: err}
	if !found {
		out.Said = said
	}
	return out
}

// isRule reports whether a line can be left out of a text: whether it is whole in itself.
func isRule(l string) bool {
	l = strings.TrimSpace(l)
	return !strings.HasPrefix(l, "*") && strings.Count(l, "{") == strings.Count(l, "}")
}

var (
	restoreLine  = regexp.MustCompile(`line:? (\d+)`)
	restoreChain = regexp.MustCompile(`Chain '([^']+)' does not exist`)
	restoreName  = regexp.MustCompile(`^ip6?tables[^:]*: `)
	nftPlace     = regexp.MustCompile(`(?m)^[^:\n]+:(\d+):[0-9-]+: Error: (.*)$`)
)

// restoreCheck reads what iptables-restore complains about: the first line that is wrong.
func restoreCheck(run func(text string) (string, error)) trial {
	return func(text string) ([]RuleProblem, string, bool) {
		said, err := run(text)
		if err == nil {
			return nil, "", true
		}
		why, _, _ := strings.Cut(said, "\n")
		why = strings.TrimSuffix(restoreName.ReplaceAllString(why, ""), ".")
		if m := restoreChain.FindStringSubmatch(said); m != nil { // it names the COMMIT
			var out []RuleProblem
			for i, l := range strings.Split(text, "\n") {
				args, _ := splitArguments(l)
				for j, a := range args {
					if j > 0 && a == m[1] && slices.Contains([]string{"-j", "--jump", "-g", "--goto"}, args[j-1]) {
						out = append(out, RuleProblem{Line: i + 1, Why: why})
					}
				}
			}
			return out, said, false
		}
		if m := restoreLine.FindStringSubmatch(said); m != nil {
			n, _ := strconv.Atoi(m[1]) // it is all digits
			if strings.HasSuffix(why, "failed") {
				why = "iptables-restore does not say why; is there such a chain?"
			}
			return []RuleProblem{{Line: n, Why: why}}, said, false
		}
		return nil, said, false
	}
}

// nftCheck reads what nft complains about: several lines at once.
func nftCheck(run func(text string) (string, error)) trial {
	return func(text string) ([]RuleProblem, string, bool) {
		said, err := run(text)
		if err == nil {
			return nil, "", true
		}
		var out []RuleProblem
		for _, m := range nftPlace.FindAllStringSubmatch(said, -1) {
			n, _ := strconv.Atoi(m[1]) // it is all digits
			if !slices.ContainsFunc(out, func(p RuleProblem) bool { return p.Line == n }) {
				out = append(out, RuleProblem{Line: n, Why: strings.TrimPrefix(m[2], "Could not process rule: ")})
			}
		}
		return out, said, false
	}
}
