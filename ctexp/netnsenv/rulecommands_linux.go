package netnsenv

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/coreos/go-iptables/iptables"
)

// Load implements Ruleset.
func (s singleCommands) Load(ctx context.Context, e *Env) error {
	bad, err := e.missing(iptablesLinks(s.commands), s.mayLack, "")
	if err != nil {
		return err
	}
	for i := range bad {
		bad[i].Text = s.commands[bad[i].Line-1]
	}
	return e.iptables(s.variant, familyOf(s.ipv6), func(ipt *iptables.IPTables) error {
		var undo []func()
		back := func() {
			for _, f := range slices.Backward(undo) {
				f()
			}
		}
		for i, c := range s.commands {
			if err := context.Cause(ctx); err != nil {
				back()
				return fmt.Errorf("%s rule %q: %w", s.variant, c, err)
			}
			u, err := runCommand(ipt, c)
			if err != nil { // the others are tried all the same, to name all that are wrong
				bad = append(bad, s.problem(i, err))
				continue
			}
			undo = append(undo, u)
		}
		if len(bad) == 0 {
			return nil
		}
		back()
		slices.SortStableFunc(bad, func(a, b RuleProblem) int { return a.Line - b.Line })
		return &RulesError{Rules: string(s.variant), Problems: bad, Err: onlyModules(bad)}
	})
}

// problem says what is wrong with the i-th command, from 0, that has failed.
func (s singleCommands) problem(i int, err error) RuleProblem {
	p := RuleProblem{Line: i + 1, Text: s.commands[i]}
	args, _ := splitArguments(s.commands[i])
	if table, ok := tableProblem(err.Error(), s.ipv6); ok {
		p.Why, p.Module = table.Why, table.Module
	} else if m := lackedModule(args, err.Error(), s.ipv6); m != "" {
		p.Why, p.Module = lacks(m), m
	} else if p.Why = plainWords(err.Error()); p.Why == "" {
		p.Why = err.Error()
	}
	return p
}

// runCommand calls what go-iptables has for one command line of iptables, and returns what takes it back; the last command
// is taken back first.
func runCommand(ipt *iptables.IPTables, text string) (undo func(), err error) {
	c, err := parseCommand(text)
	if err != nil {
		return nil, err
	}
	switch c.command {
	case "-A", "--append":
		return func() {
			if rules, err := ipt.List(c.table, c.chain); err == nil { // the first is the chain
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

// deleteRule deletes a rule and returns what puts it back to where it was, with its counters.
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
		if at < 1 { // the first is the chain
			return
		}
		if args, err := splitArguments(before[at]); err == nil && len(args) > 2 {
			_ = ipt.Insert(c.table, c.chain, at, args[2:]...)
		}
	}, nil
}

// command is one command line of iptables in its parts.
type command struct {
	command, table, chain string
	position              int // of an insertion, from 1
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
