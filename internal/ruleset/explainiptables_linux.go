package ruleset

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/nsthread"
)

var (
	outputLine    = regexp.MustCompile(`line:? (\d+)`)
	outputChain   = regexp.MustCompile(`Chain '([^']+)' does not exist`)
	outputName    = regexp.MustCompile(`^ip6?tables[^:]*: *`)
	outputModule  = regexp.MustCompile(`Warning: Extension (\S+) revision \d+ not supported, missing kernel module`)
	outputTable   = regexp.MustCompile("(?:initialize (?:ip6?tables )?table|table name|: table) [`']([^']+)'")
	outputRefusal = regexp.MustCompile(`(?:line (\d+): )?[A-Z]+_[A-Z_]+ failed \(([^)]*)\)`) // of iptables-nft, when it commits
	outputCommand = regexp.MustCompile(`(?s)^running \[.*?\]: exit status \d+: `)            // of go-iptables
)

// refusal is the prefix of an error of the kernel, as opposed to one of the program.
const refusal = "the kernel rejects it: "

// plainWords returns the first error in the output of iptables without the program's name, version and advice. It skips
// warnings.
func plainWords(output string) string {
	output = outputCommand.ReplaceAllString(output, "")
	for l := range strings.Lines(output) {
		l = strings.TrimSpace(outputName.ReplaceAllString(strings.TrimSpace(l), ""))
		if l == "" || strings.HasPrefix(l, "Warning: ") || strings.HasPrefix(l, "# Warning: ") {
			continue
		}
		if m := outputRefusal.FindStringSubmatch(l); m != nil {
			return refusal + m[2]
		}
		l, _, kernel := strings.Cut(l, " Run `dmesg'")
		if l = strings.TrimSuffix(l, "."); kernel { // iptables adds this advice to errors of the kernel
			return refusal + l
		}
		return l
	}
	return ""
}

// usesExtension reports whether a rule uses a match or target.
func usesExtension(args []string, name string) bool {
	for i, a := range args[min(1, len(args)):] {
		if a == name && slices.Contains([]string{"-m", "--match", "-j", "--jump"}, args[i]) {
			return true
		}
	}
	return false
}

// missingExtension returns the module of an extension that the rule uses and that iptables has warned is missing, or
// "". iptables prints the warning if the kernel does not know any revision of the match or target
// (libxtables/xtables.c).
func missingExtension(args []string, output string, ipv6 bool) string {
	for _, m := range outputModule.FindAllStringSubmatch(output, -1) {
		if usesExtension(args, m[1]) {
			return extensionModule(m[1], ipv6)
		}
	}
	return ""
}

// extensionModule returns the module alias that every match or target has.
func extensionModule(name string, ipv6 bool) string {
	if ipv6 {
		return "ip6t_" + name
	}
	return "ipt_" + name
}

// tableProblem returns the problem if the output says that a table is missing.
func tableProblem(output string, ipv6 bool) (nf.RuleProblem, bool) {
	m := outputTable.FindStringSubmatch(output)
	if m == nil {
		return nf.RuleProblem{}, false
	}
	if !slices.Contains([]string{"filter", "nat", "mangle", "raw", "security"}, m[1]) {
		return nf.RuleProblem{Why: fmt.Sprintf("there is no table %q", m[1])}, true
	}
	if !strings.Contains(output, "initialize") {
		return nf.RuleProblem{}, false // iptables-nft creates these tables
	}
	module := "iptable_" + m[1]
	if ipv6 {
		module = "ip6table_" + m[1]
	}
	return nf.RuleProblem{Why: lacks(module), Module: module}, true
}

// Unsupported returns an nf.UnsupportedError with err as its cause if an iptables program failed because the kernel lacks a
// table, else err. A user namespace cannot load the module.
func Unsupported(err error, f nf.Family) error {
	if err == nil {
		return nil
	}
	p, ok := tableProblem(err.Error(), f == nf.IPv6)
	if !ok || p.Module == "" {
		return err
	}
	return &nf.UnsupportedError{Need: p.Module, Hint: "sudo modprobe " + p.Module, Err: err}
}

// restoreProblems returns the problems in the output of iptables-restore: missing modules, and the first wrong line,
// all lines that jump to a missing chain, or all lines that the kernel rejects.
func restoreProblems(text, output string, ipv6 bool) (out []nf.RuleProblem) {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		args, _ := splitArguments(l)
		if m := missingExtension(args, output, ipv6); m != "" && !strings.HasPrefix(l, "#") {
			out = append(out, nf.RuleProblem{Line: i + 1, Why: lacks(m), Module: m})
		}
	}
	if m := outputChain.FindStringSubmatch(output); m != nil { // the reported line is the COMMIT
		for i, l := range lines {
			args, _ := splitArguments(l)
			for j, a := range args {
				if j > 0 && a == m[1] && slices.Contains([]string{"-j", "--jump", "-g", "--goto"}, args[j-1]) {
					out = addProblem(out, nf.RuleProblem{Line: i + 1, Why: plainWords(output)})
				}
			}
		}
		return out
	}
	for _, m := range outputRefusal.FindAllStringSubmatch(output, -1) {
		if n, err := strconv.Atoi(m[1]); err == nil {
			out = addProblem(out, nf.RuleProblem{Line: n, Why: refusal + m[2]})
		}
	}
	if m := outputLine.FindStringSubmatch(output); m != nil && !outputRefusal.MatchString(output) {
		n, _ := strconv.Atoi(m[1]) // it is all digits
		p, ok := tableProblem(output, ipv6)
		if !ok {
			p.Why = plainWords(output)
			if m := outputLine.FindStringSubmatchIndex(p.Why); m != nil && strings.Contains(p.Why[m[1]:], "failed") {
				p.Why = restoreWhy(lines, n)
			}
		}
		p.Line = n
		out = addProblem(out, p)
	}
	return out
}

// restoreWhy explains a line for which iptables-restore only says that it failed.
func restoreWhy(lines []string, n int) string {
	if n < 1 || n > len(lines) {
		return "iptables-restore does not say why"
	}
	table := ""
	for _, l := range lines[:n-1] {
		switch l = strings.TrimSpace(l); {
		case strings.HasPrefix(l, "*"):
			table = l[1:]
		case l == "COMMIT":
			table = ""
		}
	}
	c := ruleOfSave(lines[n-1])
	switch {
	case table == "":
		return "there is no *table line before it"
	case len(c) > 1 && slices.Contains([]string{"-A", "--append", "-I", "--insert", "-F", "--flush", "-X", "--delete-chain"}, c[0]):
		return fmt.Sprintf("there is no chain %q in the table %s", c[1], table)
	case len(c) > 1 && slices.Contains([]string{"-D", "--delete", "-R", "--replace"}, c[0]):
		return fmt.Sprintf("there is no such rule in the chain %q of the table %s, or no such chain", c[1], table)
	}
	return "iptables-restore does not say why"
}

// ruleOfSave returns the arguments of a rule in the output of iptables-save, without its counters; nil if the line is
// not a rule.
func ruleOfSave(l string) []string {
	args, err := splitArguments(l)
	if err == nil && len(args) > 0 && strings.HasPrefix(args[0], "[") {
		args = args[1:]
	}
	if err != nil || len(args) == 0 || !strings.HasPrefix(args[0], "-") {
		return nil
	}
	return args
}

// iptablesTry checks texts for iptables-restore without loading them. First it runs iptables-restore --test, which only
// parses them. Then it loads them in another namespace with the same rules, to get the errors of the kernel.
type iptablesTry struct {
	ns      Namespace
	ctx     context.Context
	variant nf.Variant
	family  nf.Family
}

// problems is a trial.
func (t iptablesTry) problems(text string) (out []nf.RuleProblem, ok bool) {
	ipv6 := t.family == nf.IPv6
	output, err := t.restore(t.ns, text, "--test")
	out = restoreProblems(text, output, ipv6)
	if err == nil && t.variant == nf.IPTablesNFT {
		for _, p := range chainProblems(t.ns, text) {
			out = addProblem(out, p)
		}
	}
	if err != nil || len(out) > 0 {
		return out, false
	}
	output, err = t.load(text, nil)
	switch {
	case err == nil:
		return nil, true
	case t.variant == nf.IPTablesNFT:
		if !outputRefusal.MatchString(output) {
			return nil, true // the other namespace does not have everything that this one has
		}
		return restoreProblems(text, output, ipv6), false
	}
	out = t.firstRejected(text)
	return out, len(out) == 0
}

// firstRejected returns the first line that the kernel rejects of a text for iptables-legacy-restore, which only
// reports the COMMIT. It bisects each table.
func (t iptablesTry) firstRejected(text string) []nf.RuleProblem {
	lines := strings.Split(text, "\n")
	for from := 0; from < len(lines); from++ {
		if !strings.HasPrefix(lines[from], "*") {
			continue
		}
		to := from
		for to < len(lines) && strings.TrimSpace(lines[to]) != "COMMIT" {
			to++
		}
		fails := func(n int) bool { // whether the first n lines of the table fail
			output, err := t.load(strings.Join(lines[from:from+n+1], "\n")+"\nCOMMIT", nil)
			return err != nil && restoreFailed(output)
		}
		if to == len(lines) || !fails(to-from-1) {
			continue
		}
		n := sort.Search(to-from-1, fails)
		p := nf.RuleProblem{Line: from + n + 1, Why: strings.TrimSuffix(refusal, ": ")}
		if rule := ruleOfSave(lines[from+n]); rule != nil {
			output, err := t.load(strings.Join(lines[from:from+n], "\n")+"\nCOMMIT", append([]string{"-t", strings.TrimSpace(lines[from][1:])}, rule...))
			if why := plainWords(output); err != nil && why != "" {
				p.Why = refusal + strings.TrimPrefix(why, refusal)
			}
		}
		return []nf.RuleProblem{p}
	}
	return nil
}

// restoreFailed reports whether iptables-restore failed because of an error of the kernel rather than its own.
func restoreFailed(output string) bool {
	l := output[strings.LastIndexByte(output, '\n')+1:]
	return strings.HasSuffix(l, "failed") && strings.Contains(l, "restore: line ")
}

// load loads a text into another namespace with the same rules, and then executes an iptables command, unless it is nil.
func (t iptablesTry) load(text string, command []string) (string, error) {
	other, err := nsthread.New()
	if err != nil {
		return "", nil // without another namespace there is no error to report
	}
	defer other.Close()
	if path, err := iptablesPath(t.variant, t.family, "-save"); err == nil {
		if rules, err := run(t.ns, exec.CommandContext(t.ctx, path), ""); err == nil {
			_, _ = t.restore(other, rules) // if this fails, fewer problems may be found
		}
	}
	output, err := t.restore(other, text)
	if err != nil || command == nil {
		return output, err
	}
	path, err := iptablesPath(t.variant, t.family, "")
	if err != nil {
		return "", err
	}
	return run(other, exec.CommandContext(t.ctx, path, command...), "")
}

// restore executes iptables-restore in a namespace.
func (t iptablesTry) restore(ns Namespace, text string, options ...string) (string, error) {
	path, err := iptablesPath(t.variant, t.family, "-restore")
	if err != nil {
		return "", err
	}
	args := append([]string{"--noflush", "--wait"}, options...)
	return run(ns, exec.CommandContext(t.ctx, path, args...), text+"\n") // iptables-legacy-restore needs a newline at the end
}

// chainProblems returns the rules that are added to or jump to a missing chain, because iptables-nft-restore --test
// does not check chains. A chain is missing if the text does not declare it, the namespace does not have it, and it is
// not a target.
func chainProblems(ns Namespace, text string) []nf.RuleProblem {
	existing := chainNames(ns)
	declared := map[string]bool{}
	var out []nf.RuleProblem
	for i, l := range strings.Split(text, "\n") {
		args, err := splitArguments(l)
		switch {
		case err != nil || len(args) == 0 || strings.HasPrefix(args[0], "#"):
		case strings.HasPrefix(args[0], "*"):
			declared = map[string]bool{}
		case strings.HasPrefix(args[0], ":"):
			declared[args[0][1:]] = true
		default:
			for j, a := range args[:len(args)-1] {
				name, why := args[j+1], ""
				known := declared[name] || slices.Contains(existing, name)
				switch a {
				case "-N", "--new-chain":
					declared[name] = true
				case "-A", "--append", "-I", "--insert":
					if _, base := iptablesHooks[name]; !known && !base {
						why = "there is no chain"
					}
				case "-g", "--goto":
					if !known {
						why = "there is no chain"
					}
				case "-j", "--jump":
					if !known && !isTarget(name) {
						why = "there is no chain or target"
					}
				}
				if why != "" {
					out = append(out, nf.RuleProblem{Line: i + 1, Why: fmt.Sprintf("%s %q", why, name)})
					break
				}
			}
		}
	}
	return out
}

// chainNames returns the names of the nftables chains of a namespace; nil if they cannot be read.
func chainNames(ns Namespace) (names []string) {
	var chains []chain
	_ = ns.Do(func() error {
		conn, err := nfnl.Dial()
		if err != nil {
			return err
		}
		defer conn.Close()
		chains, err = readChains(conn)
		return err
	})
	for _, c := range chains {
		names = append(names, c.name)
	}
	return names
}

// isTarget reports whether iptables has a library for a target. If it finds no libraries at all, it returns true for
// any name.
func isTarget(name string) bool {
	if slices.Contains([]string{"ACCEPT", "DROP", "RETURN", "QUEUE"}, name) {
		return true
	}
	dirs := []string{"/usr/lib/*/xtables", "/usr/lib/xtables", "/usr/lib64/xtables", "/lib/xtables", "/usr/local/lib/xtables"}
	if d := os.Getenv("XTABLES_LIBDIR"); d != "" {
		dirs = strings.Split(d, ":")
	}
	found := false
	for _, d := range dirs {
		for _, prefix := range []string{"libxt_", "libipt_", "libip6t_"} {
			if all, _ := filepath.Glob(filepath.Join(d, prefix+name+".so")); len(all) > 0 { // the patterns are well formed
				return true
			}
		}
		all, _ := filepath.Glob(filepath.Join(d, "lib*t_*.so"))
		found = found || len(all) > 0
	}
	return !found
}
