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
	saidLine    = regexp.MustCompile(`line:? (\d+)`)
	saidChain   = regexp.MustCompile(`Chain '([^']+)' does not exist`)
	saidName    = regexp.MustCompile(`^ip6?tables[^:]*: *`)
	saidModule  = regexp.MustCompile(`Warning: Extension (\S+) revision \d+ not supported, missing kernel module`)
	saidTable   = regexp.MustCompile("(?:initialize (?:ip6?tables )?table|table name|: table) [`']([^']+)'")
	saidRefusal = regexp.MustCompile(`(?:line (\d+): )?[A-Z]+_[A-Z_]+ failed \(([^)]*)\)`) // of iptables-nft, when it commits
	saidCommand = regexp.MustCompile(`(?s)^running \[.*?\]: exit status \d+: `)            // of go-iptables
)

// refusal begins the reason of what a program has understood and the kernel not taken.
const refusal = "the kernel refuses it: "

// plainWords returns what an iptables has said without its name and version, its warnings and its advice to look elsewhere.
func plainWords(said string) string {
	said = saidCommand.ReplaceAllString(said, "")
	for l := range strings.Lines(said) {
		l = strings.TrimSpace(saidName.ReplaceAllString(strings.TrimSpace(l), ""))
		if l == "" || strings.HasPrefix(l, "Warning: ") || strings.HasPrefix(l, "# Warning: ") {
			continue
		}
		if m := saidRefusal.FindStringSubmatch(l); m != nil {
			return refusal + m[2]
		}
		l, _, kernel := strings.Cut(l, " Run `dmesg'")
		if l = strings.TrimSuffix(l, "."); kernel { // it says this of errors that are none of its own
			return refusal + l
		}
		return l
	}
	return ""
}

// wantsExtension reports whether the arguments of a rule name a match or target.
func wantsExtension(args []string, name string) bool {
	for i, a := range args[min(1, len(args)):] {
		if a == name && slices.Contains([]string{"-m", "--match", "-j", "--jump"}, args[i]) {
			return true
		}
	}
	return false
}

// lackedModule returns the module that a rule needs and that iptables has warned is missing, or "". That it prints for a
// match or target whose revision 0 the kernel does not know, and no later one either (libxtables/xtables.c).
func lackedModule(args []string, said string, ipv6 bool) string {
	for _, m := range saidModule.FindAllStringSubmatch(said, -1) {
		if wantsExtension(args, m[1]) {
			return extensionModule(m[1], ipv6)
		}
	}
	return ""
}

// extensionModule returns the name by which modprobe knows a match or target: all have the alias.
func extensionModule(name string, ipv6 bool) string {
	if ipv6 {
		return "ip6t_" + name
	}
	return "ipt_" + name
}

// tableProblem says what it means that an iptables has not found a table.
func tableProblem(said string, ipv6 bool) (nf.RuleProblem, bool) {
	m := saidTable.FindStringSubmatch(said)
	if m == nil {
		return nf.RuleProblem{}, false
	}
	if !slices.Contains([]string{"filter", "nat", "mangle", "raw", "security"}, m[1]) {
		return nf.RuleProblem{Why: fmt.Sprintf("there is no table %q", m[1])}, true
	}
	if !strings.Contains(said, "initialize") {
		return nf.RuleProblem{}, false // iptables-nft makes them
	}
	module := "iptable_" + m[1]
	if ipv6 {
		module = "ip6table_" + m[1]
	}
	return nf.RuleProblem{Why: lacks(module), Module: module}, true
}

// restoreProblems reads what iptables-restore complains about: the first line that is wrong, all lines that lead to a chain,
// or all that the kernel refuses; and the modules that are missing.
func restoreProblems(text, said string, ipv6 bool) (out []nf.RuleProblem) {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		args, _ := splitArguments(l)
		if m := lackedModule(args, said, ipv6); m != "" && !strings.HasPrefix(l, "#") {
			out = append(out, nf.RuleProblem{Line: i + 1, Why: lacks(m), Module: m})
		}
	}
	add := func(p nf.RuleProblem) {
		if !slices.ContainsFunc(out, func(q nf.RuleProblem) bool { return q.Line == p.Line }) {
			out = append(out, p)
		}
	}
	if m := saidChain.FindStringSubmatch(said); m != nil { // it names the COMMIT
		for i, l := range lines {
			args, _ := splitArguments(l)
			for j, a := range args {
				if j > 0 && a == m[1] && slices.Contains([]string{"-j", "--jump", "-g", "--goto"}, args[j-1]) {
					add(nf.RuleProblem{Line: i + 1, Why: plainWords(said)})
				}
			}
		}
		return out
	}
	for _, m := range saidRefusal.FindAllStringSubmatch(said, -1) {
		if n, err := strconv.Atoi(m[1]); err == nil {
			add(nf.RuleProblem{Line: n, Why: refusal + m[2]})
		}
	}
	if m := saidLine.FindStringSubmatch(said); m != nil && !saidRefusal.MatchString(said) {
		n, _ := strconv.Atoi(m[1]) // it is all digits
		p, ok := tableProblem(said, ipv6)
		if !ok {
			p.Why = plainWords(said)
			if m := saidLine.FindStringSubmatchIndex(p.Why); m != nil && strings.Contains(p.Why[m[1]:], "failed") {
				p.Why = restoreWhy(lines, n)
			}
		}
		p.Line = n
		add(p)
	}
	return out
}

// restoreWhy says what is wrong with a line that iptables-restore calls failed and no more.
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

// ruleOfSave returns the arguments of a rule in a text of iptables-save, without its counters; none if it is no rule.
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

// iptablesTry tries texts for iptables-restore without loading them: first by its own test, which reads them; then by loading
// them in another namespace that has the same rules, where the kernel has its say as well.
type iptablesTry struct {
	ns      Namespace
	ctx     context.Context
	variant nf.Variant
	family  nf.Family
}

// problems is a trial.
func (t iptablesTry) problems(text string) ([]nf.RuleProblem, string, bool) {
	ipv6 := t.family == nf.IPv6
	said, err := t.restore(t.ns, text, "--test")
	out := restoreProblems(text, said, ipv6)
	if err == nil && t.variant == nf.IPTablesNFT {
		for _, p := range chainProblems(t.ns, text) {
			if !slices.ContainsFunc(out, func(q nf.RuleProblem) bool { return q.Line == p.Line }) {
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
	case t.variant == nf.IPTablesNFT:
		if !saidRefusal.MatchString(said) {
			return nil, "", true // the other namespace lacks something that this one has
		}
		return restoreProblems(text, said, ipv6), said, false
	}
	out = t.refused(text)
	return out, said, len(out) == 0
}

// refused returns the first line of a table that the legacy iptables-restore is refused by the kernel: it names the COMMIT.
func (t iptablesTry) refused(text string) []nf.RuleProblem {
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
		p := nf.RuleProblem{Line: from + n + 1, Why: strings.TrimSuffix(refusal, ": ")}
		if rule := ruleOfSave(lines[from+n]); rule != nil {
			said, err := t.load(strings.Join(lines[from:from+n], "\n")+"\nCOMMIT", append([]string{"-t", strings.TrimSpace(lines[from][1:])}, rule...))
			if why := plainWords(said); err != nil && why != "" {
				p.Why = refusal + strings.TrimPrefix(why, refusal)
			}
		}
		return []nf.RuleProblem{p}
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
	if path, err := iptablesPath(t.variant, t.family, "-save"); err == nil {
		if rules, err := run(t.ns, exec.CommandContext(t.ctx, path), ""); err == nil {
			_, _ = t.restore(other, rules) // it may lack what they need: then a trial tells less
		}
	}
	said, err := t.restore(other, text)
	if err != nil || command == nil {
		return said, err
	}
	path, err := iptablesPath(t.variant, t.family, "")
	if err != nil {
		return "", err
	}
	return run(other, exec.CommandContext(t.ctx, path, command...), "")
}

// restore has iptables-restore read a text in a namespace.
func (t iptablesTry) restore(ns Namespace, text string, options ...string) (string, error) {
	path, err := iptablesPath(t.variant, t.family, "-restore")
	if err != nil {
		return "", err
	}
	args := append([]string{"--noflush", "--wait"}, options...)
	return run(ns, exec.CommandContext(t.ctx, path, args...), text+"\n") // the legacy one wants the last line ended
}

// chainProblems returns the rules that are added to a chain, or lead to one, that neither the text declares nor the namespace
// has, and that is no target either: iptables-nft-restore looks for them only when it commits.
func chainProblems(ns Namespace, text string) []nf.RuleProblem {
	there := chainNames(ns)
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
				known := declared[name] || slices.Contains(there, name)
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

// chainNames returns the names of the chains that nftables has in a namespace; none if they cannot be read.
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

// isTarget reports whether iptables knows a target, by the libraries that it loads for them; if these are not found where
// they usually are, any may be one.
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
