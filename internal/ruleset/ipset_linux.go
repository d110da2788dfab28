package ruleset

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

var (
	ipsetError = regexp.MustCompile(`(?m)^ipset v\S+: (?:Error in line (\d+): )?(.*)$`)
	// What older kernels lack is found before the first line is read.
	ipsetBehind = regexp.MustCompile("Argument `\\S+' is supported in the kernel module .* only")
	ipsetType   = regexp.MustCompile(`\b(hash|bitmap|list):[a-z,]+`)
)

// ipsetPath returns the path of the program ipset.
func ipsetPath() (string, error) {
	path, err := lookPath(ipsetProgram)
	if err != nil {
		return "", &nf.UnsupportedError{Need: ipsetProgram, Hint: "install ipset, on Debian and Ubuntu: apt-get install ipset", Err: err}
	}
	return path, nil
}

// loadIPSet executes ipset restore. It ends at the first wrong line, and the sets that the lines before have created are
// destroyed then.
func (t Text) loadIPSet(ctx context.Context, ns Namespace) error {
	path, err := ipsetPath()
	if err != nil {
		return err
	}
	output, err := run(ns, exec.CommandContext(ctx, path, "restore"), t.Text+"\n")
	if err == nil {
		return nil
	}
	if why := ipsetBehind.FindString(output); why != "" {
		return &nf.UnsupportedError{Need: "a newer ip_set", Hint: "a newer kernel, or a text without that argument", Err: fmt.Errorf("ipset rules: %s", why)}
	}
	p, ok := ipsetProblem(t.Text, output)
	if !ok {
		return &nf.RulesError{Rules: ipsetProgram, Output: output, Err: err}
	}
	if p.Line > 0 {
		t.destroySets(ctx, ns, path, p.Line)
	}
	out := &nf.RulesError{Rules: ipsetProgram, Problems: []nf.RuleProblem{p}, Err: err}
	if lack := onlyModules(out.Problems); lack != nil {
		out.Err = lack
	}
	return out
}

// destroySets destroys the sets that lines before the one with a number have created, last created first. One that may
// have been there before stays.
func (t Text) destroySets(ctx context.Context, ns Namespace, path string, number int) {
	undo := ""
	for i, l := range strings.Split(t.Text, "\n") {
		f := strings.Fields(l)
		if i+1 < number && len(f) > 1 && (f[0] == "create" || f[0] == "-N") && !slices.Contains(f, "-exist") && !slices.Contains(f, "-!") {
			undo = "destroy " + f[1] + "\n" + undo
		}
	}
	_, _ = run(ns, exec.CommandContext(ctx, path, "restore"), undo) // the error of the text is the one that matters
}

// ipsetProblem returns the problem in the output of ipset restore.
func ipsetProblem(text, output string) (p nf.RuleProblem, ok bool) {
	m := ipsetError.FindStringSubmatch(output)
	if m == nil {
		return p, false
	}
	why := strings.TrimSuffix(m[2], ".")
	if strings.HasPrefix(why, "Cannot open session to kernel") || strings.HasPrefix(why, "Kernel support protocol") {
		return nf.RuleProblem{Line: 1, Text: lineOf(text, 1), Why: lacks("ip_set"), Module: "ip_set"}, true
	}
	n, err := strconv.Atoi(m[1])
	if errors.Is(err, strconv.ErrSyntax) {
		n = wrongCommand(text, why)
	}
	if n == 0 {
		return p, false
	}
	p = nf.RuleProblem{Line: n, Text: lineOf(text, n), Why: why}
	if kernel, found := strings.CutPrefix(why, "Kernel error received: "); found {
		p.Why = refusal + kernel
		if typ := ipsetType.FindString(p.Text); typ != "" && strings.Contains(kernel, "type not supported") {
			p.Module = "ip_set_" + strings.NewReplacer(":", "_", ",", "").Replace(typ) // hash:net,iface is in ip_set_hash_netiface
			p.Why = lacks(p.Module)
		}
	}
	return p, true
}

// wrongCommand returns the number of the line with a command that ipset does not know, which it reports without one, or 0.
func wrongCommand(text, why string) int {
	_, word, ok := strings.Cut(why, "unknown argument ")
	for i, l := range strings.Split(text, "\n") {
		if f := strings.Fields(l); ok && len(f) > 0 && f[0] == word {
			return i + 1
		}
	}
	return 0
}
