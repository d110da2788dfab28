package ruleset

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/coreos/go-iptables/iptables"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Load loads the text into a namespace with these links by executing nft, iptables-restore or ipset restore. If the text is wrong, the
// error is an nf.RulesError.
func (t Text) Load(ctx context.Context, ns Namespace, links []string) error {
	t.Text = strings.ReplaceAll(t.Text, "\r\n", "\n")
	if t.isBlank() {
		return t.checkBlank()
	}
	switch t.Program {
	case "nft":
		return t.loadNFT(ctx, ns, links)
	case ipsetProgram:
		return t.loadIPSet(ctx, ns)
	}
	return t.loadSave(ctx, ns, links)
}

func (t Text) loadNFT(ctx context.Context, ns Namespace, links []string) error {
	path, err := nftPath()
	if err != nil {
		return err
	}
	nft := func(text string, args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, path, slices.Concat(args, t.nftArguments(), []string{"-f", "-"})...)
		cmd.Dir = t.Folder // where nft finds "./file"
		return run(ns, cmd, text)
	}
	bad := t.missing(nftLinks(t.Text), links)
	var output string
	if len(bad) == 0 {
		output, err = nft(t.Text)
	}
	try := nftTry{links: links, run: func(text string) (string, error) { return nft(text, "-c") }}
	return t.explain(bad, output, err, try.problems)
}

// nftArguments returns the arguments by which nft finds included files and what is defined.
func (t Text) nftArguments() (args []string) {
	if t.Folder != "" {
		args = append(args, "-I", t.Folder)
	}
	for _, d := range t.Define {
		args = append(args, "-D", d)
	}
	return args
}

func (t Text) loadSave(ctx context.Context, ns Namespace, links []string) error {
	try := iptablesTry{ns: ns, ctx: ctx, variant: nf.Variant(t.Program), family: t.Family}
	if _, err := iptablesPath(try.variant, t.Family, "-restore"); err != nil {
		return err
	}
	lines := strings.Split(t.Text, "\n")
	if bad := notSaved(lines); len(bad) > 0 {
		return &nf.RulesError{Rules: t.Program, Problems: bad}
	}
	bad := t.missing(iptablesLinks(lines), links)
	var output string
	var err error
	if strings.Count(t.Text, "\nCOMMIT") > 1 { // each table is a separate transaction, so test all of them first
		output, err = try.restore(ns, t.Text, "--test")
	}
	if err == nil && len(bad) == 0 {
		output, err = try.restore(ns, t.Text)
	}
	return t.explain(bad, output, err, try.problems)
}

// trial checks a text without loading it. It returns the problems that the program reports, which may be only the first
// one. ok is true if the program accepts the text, or if its output contains no problem that can be read.
type trial func(text string) (problems []nf.RuleProblem, ok bool)

// explain returns nil, or an error with all problems: the missing links, and those that the program reports. Because a
// program may stop at the first problem, explain removes the reported lines from the text and tries again.
func (t Text) explain(bad []nf.RuleProblem, output string, err error, try trial) error {
	if err == nil && len(bad) == 0 {
		return nil
	}
	const maxTrials = 50
	lines := strings.Split(t.Text, "\n")
	found, whole := false, true // whole: the removed lines do not change the meaning of the rest
	for i := 0; whole && i < maxTrials; i++ {
		problems, ok := try(strings.Join(lines, "\n"))
		left := false
		for _, p := range problems {
			if p.File != "" && !ok {
				if !slices.Contains(bad, p) {
					bad = append(bad, p)
				}
				found = true
				continue
			}
			if ok || p.Line < 1 || p.Line > len(lines) || lines[p.Line-1] == "" || strings.TrimSpace(lines[p.Line-1]) == "COMMIT" {
				continue
			}
			p.Text = lineOf(t.Text, p.Line)
			known := func(q nf.RuleProblem) bool {
				return q.Line == p.Line && q.Link != "" && q.Link == p.Link || q.Keyword != "" && q.Keyword == p.Keyword || t.isAbout(p, q.Link, q.Line)
			}
			if !slices.ContainsFunc(bad, known) {
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
	slices.SortStableFunc(bad, func(a, b nf.RuleProblem) int { return a.Line - b.Line })
	out := &nf.RulesError{Rules: t.Program, Problems: bad, Err: err}
	if !found {
		out.Output = output
	} else if err := onlyModules(bad); err != nil {
		out.Err = err
	}
	return out
}

// isAbout reports whether the kernel's complaint p is about a missing link that the text names in a line. Before 6.16 the
// kernel refuses chains and flowtables of devices that do not exist, without telling which
// (net/netfilter/nf_tables_api.c, nft_netdev_hook_alloc), and nft points at the name of the chain.
func (t Text) isAbout(p nf.RuleProblem, link string, line int) bool {
	if p.Why != noEntry || link == "" || line < p.Line {
		return false
	}
	for n := p.Line; n < line; n++ {
		if strings.Contains(lineOf(t.Text, n), "}") {
			return false // the block of the chain ends before
		}
	}
	return true
}

// OpenIPTables returns a handle for the variant's program, which it executes once to get the version. The handle
// executes the program on the calling thread: OpenIPTables and the handle must be used on a thread in the namespace.
//
// If the program is missing, the error is an nf.UnsupportedError whose Need is the variant.
func OpenIPTables(v nf.Variant, f nf.Family) (*iptables.IPTables, error) {
	path, err := iptablesPath(v, f, "")
	if err != nil {
		return nil, err
	}
	proto := iptables.ProtocolIPv4
	if f == nf.IPv6 {
		proto = iptables.ProtocolIPv6
	}
	return iptables.New(iptables.Path(path), iptables.IPFamily(proto), iptables.Timeout(10))
}

// LoadCommands executes the single commands of the text by a handle for its variant and family. It must be called on a
// thread in the namespace, which has these links. If commands fail, an nf.RulesError lists them all, and the effects of
// the others are undone.
func (t Text) LoadCommands(ctx context.Context, ipt *iptables.IPTables, links []string) error {
	if t.isBlank() {
		return t.checkBlank()
	}
	bad := t.missing(iptablesLinks(t.Commands), links)
	var undo []func()
	back := func() {
		for _, f := range slices.Backward(undo) {
			f()
		}
	}
	for i, c := range t.Commands {
		if err := context.Cause(ctx); err != nil {
			back()
			return fmt.Errorf("%s rule %q: %w", t.Program, c, err)
		}
		u, err := runCommand(ipt, c)
		if err != nil { // continue, to find all wrong commands
			bad = append(bad, t.commandProblem(i, err))
			continue
		}
		undo = append(undo, u)
	}
	if len(bad) == 0 {
		return nil
	}
	back()
	slices.SortStableFunc(bad, func(a, b nf.RuleProblem) int { return a.Line - b.Line })
	return &nf.RulesError{Rules: t.Program, Problems: bad, Err: onlyModules(bad)}
}

// commandProblem returns the problem of the failed command with index i.
func (t Text) commandProblem(i int, err error) nf.RuleProblem {
	p := nf.RuleProblem{Line: i + 1, Text: t.Commands[i]}
	args, _ := splitArguments(t.Commands[i])
	ipv6 := t.Family == nf.IPv6
	if table, ok := tableProblem(err.Error(), ipv6); ok {
		p.Why, p.Module = table.Why, table.Module
	} else if m := missingExtension(args, err.Error(), ipv6); m != "" {
		p.Why, p.Module = lacks(m), m
	} else if p.Why = plainWords(err.Error()); p.Why == "" {
		p.Why = err.Error()
	} else if c, err := parseCommand(t.Commands[i]); err == nil && strings.HasPrefix(p.Why, "No chain/target/match") {
		p.Why = fmt.Sprintf("there is no chain %q in the table %s, or no such target or match", c.chain, c.table)
	}
	return p
}

// runCommand executes an iptables command by go-iptables, and returns a function that undoes it. Commands must be
// undone in reverse order.
func runCommand(ipt *iptables.IPTables, text string) (undo func(), err error) {
	c, err := parseCommand(text)
	if err != nil {
		return nil, err
	}
	switch c.command {
	case "-A", "--append":
		return func() {
			if rules, err := ipt.List(c.table, c.chain); err == nil { // the first line is the chain
				_ = ipt.Delete(c.table, c.chain, strconv.Itoa(len(rules)-1))
			}
		}, ipt.Append(c.table, c.chain, c.rest...)
	case "-D", "--delete":
		return deleteRule(ipt, c)
	case "-I", "--insert":
		return func() { _ = ipt.Delete(c.table, c.chain, strconv.Itoa(c.position)) }, ipt.Insert(c.table, c.chain, c.position, c.rest...)
	case "-N", "--new-chain":
		return func() { _ = ipt.DeleteChain(c.table, c.chain) }, ipt.NewChain(c.table, c.chain)
	case "-P", "--policy":
		if len(c.rest) != 1 {
			return nil, fmt.Errorf("want -P chain target")
		}
		before, err := ipt.List(c.table, c.chain)
		if err != nil {
			return nil, err
		}
		return func() {
			if f := strings.Fields(before[0]); len(f) == 3 && f[0] == "-P" {
				_ = ipt.ChangePolicy(c.table, c.chain, f[2])
			}
		}, ipt.ChangePolicy(c.table, c.chain, c.rest[0])
	}
	return nil, fmt.Errorf("command %q: want -A, -D, -I, -N or -P after an optional -t table", c.command)
}

var counters = regexp.MustCompile(` -c \d+ \d+`)

// deleteRule deletes a rule and returns a function that inserts it again at the same position with its counters.
func deleteRule(ipt *iptables.IPTables, c command) (undo func(), err error) {
	before, err := ipt.ListWithCounters(c.table, c.chain)
	if err != nil {
		return nil, err
	}
	if err := ipt.Delete(c.table, c.chain, c.rest...); err != nil {
		return nil, err
	}
	after, err := ipt.ListWithCounters(c.table, c.chain)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(before, func(rule string) bool {
		if len(after) == 0 || counters.ReplaceAllString(rule, "") != counters.ReplaceAllString(after[0], "") {
			return true
		}
		after = after[1:]
		return false
	})
	return func() {
		if at < 1 { // the first line is the chain
			return
		}
		if args, err := splitArguments(before[at]); err == nil && len(args) > 2 {
			_ = ipt.Insert(c.table, c.chain, at, args[2:]...)
		}
	}, nil
}

// command is a parsed command line of iptables.
type command struct {
	command, table, chain string
	position              int // of an inserted rule, counted from 1
	rest                  []string
}

func parseCommand(text string) (command, error) {
	args, err := splitArguments(text)
	if err != nil {
		return command{}, err
	}
	c := command{table: "filter", position: 1}
	if len(args) >= 2 && (args[0] == "-t" || args[0] == "--table") {
		c.table, args = args[1], args[2:]
	}
	if len(args) < 2 {
		return command{}, fmt.Errorf("want [-t table] command chain …")
	}
	c.command, c.chain, c.rest = args[0], args[1], args[2:]
	if (c.command == "-I" || c.command == "--insert") && len(c.rest) > 0 {
		if n, err := strconv.Atoi(c.rest[0]); err == nil {
			c.position, c.rest = n, c.rest[1:]
		}
	}
	return c, nil
}
