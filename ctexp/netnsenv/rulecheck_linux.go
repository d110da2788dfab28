package netnsenv

import (
	"fmt"
	"slices"
	"strings"
)

// linkNames returns the names of the links in the namespace.
func (e *Env) linkNames() (names []string, err error) {
	links, err := e.route.Link.List()
	if err != nil {
		if e.FD() < 0 {
			return nil, ErrClosed
		}
		return nil, fmt.Errorf("list the links: %w", err)
	}
	for _, l := range links {
		names = append(names, l.Attributes.Name)
	}
	return names, nil
}

// missing returns a problem for each link that rules name and that is not in the namespace.
func (e *Env) missing(uses []linkUse, mayLack []string, text string) ([]RuleProblem, error) {
	if len(uses) == 0 {
		return nil, nil
	}
	there, err := e.linkNames()
	return missingLinks(uses, there, mayLack, func(n int) string { return line(text, n) }), err
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
	found, whole := false, true // whole: what is left of the text means what it meant
	for i := 0; whole && i < most; i++ {
		problems, _, ok := try(strings.Join(lines, "\n"))
		left := false
		for _, p := range problems {
			if ok || p.Line < 1 || p.Line > len(lines) || lines[p.Line-1] == "" || strings.TrimSpace(lines[p.Line-1]) == "COMMIT" {
				continue
			}
			p.Text = line(text, p.Line)
			if !slices.ContainsFunc(bad, p.saysNoMoreThan) {
				bad = append(bad, p)
			}
			found, left = true, true
			if !isRule(lines[p.Line-1]) {
				whole = false
			}
			lines[p.Line-1] = ""
		}
		if !left {
			break
		}
	}
	slices.SortStableFunc(bad, func(a, b RuleProblem) int { return a.Line - b.Line })
	out := &RulesError{Rules: rules, Problems: bad, Err: err}
	if !found {
		out.Said = said
	} else if err := onlyModules(bad); err != nil {
		out.Err = err
	}
	return out
}

// saysNoMoreThan reports whether q says of the same line that the same link is missing.
func (p RuleProblem) saysNoMoreThan(q RuleProblem) bool {
	why, _, _ := strings.Cut(p.Why, " (")
	return q.Line == p.Line && strings.HasPrefix(why, "there is no link") && strings.HasPrefix(q.Why, why)
}

// isRule reports whether a line can be left out of a text: whether it is whole in itself.
func isRule(l string) bool {
	l = strings.TrimSpace(l)
	return !strings.HasPrefix(l, "*") && strings.Count(l, "{") == strings.Count(l, "}")
}
