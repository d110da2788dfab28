package netnsenv

import (
	"context"
	"os/exec"
	"slices"
	"sort"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nsthread"
	"github.com/ctexp/go-ctexp/internal/xtables"
)

// iptablesTry tries texts for iptables-restore without loading them: first by its own test, which reads them; then by loading
// them in another namespace that has the same rules, where the kernel has its say as well.
type iptablesTry struct {
	env     *Env
	ctx     context.Context
	variant Variant
	family  nf.Family
}

// problems is a trial.
func (t iptablesTry) problems(text string) ([]RuleProblem, string, bool) {
	ipv6 := t.family == nf.IPv6
	said, err := t.restore(t.env.Do, text, "--test")
	out := restoreProblems(text, said, ipv6)
	if err == nil && t.variant == IPTablesNFT {
		for _, p := range t.env.chainProblems(text) {
			if !slices.ContainsFunc(out, func(q RuleProblem) bool { return q.Line == p.Line }) {
				out = append(out, p)
			}
		}
	}
	if err != nil || len(out) > 0 {
		return out, said, false
	}
	said, err = t.load(text, nil)
	switch {
	case err == nil:
		return nil, "", true
	case t.variant == IPTablesNFT:
		if !saidRefusal.MatchString(said) {
			return nil, "", true // the other namespace lacks something that this one has
		}
		return restoreProblems(text, said, ipv6), said, false
	}
	out = t.refused(text)
	return out, said, len(out) == 0
}

// refused returns the first line of a table that the legacy iptables-restore is refused by the kernel: it names the COMMIT.
func (t iptablesTry) refused(text string) []RuleProblem {
	lines := strings.Split(text, "\n")
	for from := 0; from < len(lines); from++ {
		if !strings.HasPrefix(lines[from], "*") {
			continue
		}
		to := from
		for to < len(lines) && strings.TrimSpace(lines[to]) != "COMMIT" {
			to++
		}
		fails := func(n int) bool { // the table up to the n-th line behind its first
			said, err := t.load(strings.Join(lines[from:from+n+1], "\n")+"\nCOMMIT", nil)
			return err != nil && restoreFailed(said)
		}
		if to == len(lines) || !fails(to-from-1) {
			continue
		}
		n := sort.Search(to-from-1, fails)
		p := RuleProblem{Line: from + n + 1, Why: strings.TrimSuffix(refusal, ": ")}
		if rule := ruleOfSave(lines[from+n]); rule != nil {
			said, err := t.load(strings.Join(lines[from:from+n], "\n")+"\nCOMMIT", append([]string{"-t", strings.TrimSpace(lines[from][1:])}, rule...))
			if why := plainWords(said); err != nil && why != "" {
				p.Why = refusal + strings.TrimPrefix(why, refusal)
			}
		}
		return []RuleProblem{p}
	}
	return nil
}

// restoreFailed reports whether iptables-restore was refused by the kernel, as opposed to what itself has not understood.
func restoreFailed(said string) bool {
	l := said[strings.LastIndexByte(said, '\n')+1:]
	return strings.HasSuffix(l, "failed") && strings.Contains(l, "restore: line ")
}

// load loads a text into a namespace that has the same rules, and then executes a command of iptables, unless that is nil.
func (t iptablesTry) load(text string, command []string) (string, error) {
	other, err := nsthread.New()
	if err != nil {
		return "", nil // what cannot be tried is not known to fail
	}
	defer other.Close()
	if path, err := xtables.Path(t.variant, t.family, "-save"); err == nil {
		if rules, err := t.env.feed(t.ctx, "", path); err == nil {
			_, _ = t.restore(other.Do, rules) // it may lack what they need: then a trial tells less
		}
	}
	said, err := t.restore(other.Do, text)
	if err != nil || command == nil {
		return said, err
	}
	path, err := xtables.Path(t.variant, t.family, "")
	if err != nil {
		return "", err
	}
	return feed(other.Do, exec.CommandContext(t.ctx, path, command...), "")
}

// restore has iptables-restore read a text in a namespace.
func (t iptablesTry) restore(do func(func() error) error, text string, options ...string) (string, error) {
	path, err := xtables.Path(t.variant, t.family, "-restore")
	if err != nil {
		return "", err
	}
	args := append([]string{"--noflush", "--wait"}, options...)
	return feed(do, exec.CommandContext(t.ctx, path, args...), text+"\n") // the legacy one wants the last line ended
}
