package netnsenv

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
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
func tableProblem(said string, ipv6 bool) (RuleProblem, bool) {
	m := saidTable.FindStringSubmatch(said)
	if m == nil {
		return RuleProblem{}, false
	}
	if !slices.Contains([]string{"filter", "nat", "mangle", "raw", "security"}, m[1]) {
		return RuleProblem{Why: fmt.Sprintf("there is no table %q", m[1])}, true
	}
	if !strings.Contains(said, "initialize") {
		return RuleProblem{}, false // iptables-nft makes them
	}
	module := "iptable_" + m[1]
	if ipv6 {
		module = "ip6table_" + m[1]
	}
	return RuleProblem{Why: lacks(module), Module: module}, true
}

// restoreProblems reads what iptables-restore complains about: the first line that is wrong, all lines that lead to a chain,
// or all that the kernel refuses; and the modules that are missing.
func restoreProblems(text, said string, ipv6 bool) (out []RuleProblem) {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		args, _ := splitArguments(l)
		if m := lackedModule(args, said, ipv6); m != "" && !strings.HasPrefix(l, "#") {
			out = append(out, RuleProblem{Line: i + 1, Why: lacks(m), Module: m})
		}
	}
	add := func(p RuleProblem) {
		if !slices.ContainsFunc(out, func(q RuleProblem) bool { return q.Line == p.Line }) {
			out = append(out, p)
		}
	}
	if m := saidChain.FindStringSubmatch(said); m != nil { // it names the COMMIT
		for i, l := range lines {
			args, _ := splitArguments(l)
			for j, a := range args {
				if j > 0 && a == m[1] && slices.Contains([]string{"-j", "--jump", "-g", "--goto"}, args[j-1]) {
					add(RuleProblem{Line: i + 1, Why: plainWords(said)})
				}
			}
		}
		return out
	}
	for _, m := range saidRefusal.FindAllStringSubmatch(said, -1) {
		if n, err := strconv.Atoi(m[1]); err == nil {
			add(RuleProblem{Line: n, Why: refusal + m[2]})
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
