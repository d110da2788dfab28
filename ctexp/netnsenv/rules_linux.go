package netnsenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/coreos/go-iptables/iptables"
	"github.com/google/nftables"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/xtables"
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

// IPTables runs f in the namespace with a handle on the variant's iptables for IPv4. The handle executes from
// whatever thread calls it, so f must not give it to other goroutines.
func (e *Env) IPTables(v Variant, f func(*iptables.IPTables) error) error {
	return e.iptables(v, nf.IPv4, f)
}

// IP6Tables is IPTables for IPv6.
func (e *Env) IP6Tables(v Variant, f func(*iptables.IPTables) error) error {
	return e.iptables(v, nf.IPv6, f)
}

func (e *Env) iptables(v Variant, family nf.Family, f func(*iptables.IPTables) error) error {
	if f == nil {
		panic("netnsenv: IPTables: the function is nil")
	}
	return e.Do(func() error {
		ipt, err := e.handles.open(v, family)
		if err != nil {
			return err
		}
		return f(ipt)
	})
}

// handles keeps the iptables handles of an Env, each of which costs an execution. Only the Env's thread uses it.
type handles map[string]*iptables.IPTables

func (h *handles) open(v Variant, family nf.Family) (*iptables.IPTables, error) {
	key := string(v) + family.String()
	if ipt := (*h)[key]; ipt != nil {
		return ipt, nil
	}
	ipt, err := xtables.Open(v, family)
	if err != nil {
		return nil, err
	}
	if *h == nil {
		*h = handles{}
	}
	(*h)[key] = ipt
	return ipt, nil
}

func familyOf(ipv6 bool) nf.Family {
	if ipv6 {
		return nf.IPv6
	}
	return nf.IPv4
}

// Load implements Ruleset.
func (s saveText) Load(ctx context.Context, e *Env) error {
	path, err := xtables.Path(s.variant, familyOf(s.ipv6), "-restore")
	if err != nil {
		return err
	}
	restore := []string{"--noflush", "--wait"}
	try := iptablesTry{env: e, ctx: ctx, variant: s.variant, family: familyOf(s.ipv6)}
	bad, err := e.missing(iptablesLinks(strings.Split(s.text, "\n")), s.mayLack, s.text)
	if err != nil {
		return err
	}
	var said string
	if strings.Count(s.text, "\nCOMMIT") > 1 { // each is a transaction of its own
		said, err = e.feed(ctx, s.text+"\n", path, append(restore, "--test")...)
	}
	if err == nil && len(bad) == 0 {
		said, err = e.feed(ctx, s.text+"\n", path, restore...)
	}
	return rulesError(string(s.variant), s.text, bad, said, err, try.problems)
}

// NFTables is a function that sets rules through a connection of the namespace; what it leaves unsent is flushed.
func NFTables(f func(*nftables.Conn) error) Ruleset { return nftFunc(f) }

type nftFunc func(*nftables.Conn) error

// nftFuncs lets the functions of all Envs set rules one at a time: google/nftables numbers sets in a variable of the package
// (v0.3.0, set.go, allocSetID). They only write messages, so that nobody waits for long.
var nftFuncs sync.Mutex

// Load implements Ruleset.
func (f nftFunc) Load(_ context.Context, e *Env) error {
	if f == nil {
		return errors.New("nftables rules: the function is nil")
	}
	c, err := e.openNFTables()
	if err != nil {
		return err
	}
	defer c.CloseLasting()
	nftFuncs.Lock()
	defer nftFuncs.Unlock()
	if err := f(c); err != nil {
		return fmt.Errorf("nftables rules: %w", err)
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("nftables rules: %w", err)
	}
	return nil
}

// NFTables returns a lasting connection to the nftables of the namespace. It works from any goroutine, one at a
// time; close it with CloseLasting, or let the Env do it. AddSet is for one goroutine of the whole program at a time, of
// whatever Envs: the functions of the Ruleset NFTables see to that.
func (e *Env) NFTables() (*nftables.Conn, error) {
	c, err := e.openNFTables()
	if err == nil {
		e.onClose(closerFunc(c.CloseLasting))
	}
	return c, err
}

func (e *Env) openNFTables() (*nftables.Conn, error) {
	var c *nftables.Conn
	err := e.Do(func() (err error) {
		c, err = nftables.New(nftables.AsLasting())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	return c, nil
}

type closerFunc func() error

func (f closerFunc) Close() error { return f() }

// Load implements Ruleset.
func (t nftText) Load(ctx context.Context, e *Env) error {
	path, err := xtables.LookPath("nft")
	if err != nil {
		return &nf.UnsupportedError{Need: "nft", Hint: "install nftables, on Debian and Ubuntu: apt-get install nftables", Err: err}
	}
	links, err := e.linkNames()
	if err != nil {
		return err
	}
	bad := missingLinks(nftLinks(t.text), links, t.mayLack, func(n int) string { return line(t.text, n) })
	var said string
	if len(bad) == 0 {
		said, err = e.feed(ctx, t.text, path, "-f", "-")
	}
	try := nftTry{links: links, run: func(text string) (string, error) { return e.feed(ctx, text, path, "-c", "-f", "-") }}
	return rulesError("nft", t.text, bad, said, err, try.problems)
}

// feed runs a program in the namespace with text as its input and returns what it had to say.
func (e *Env) feed(ctx context.Context, text, path string, args ...string) (string, error) {
	return feed(e.Do, exec.CommandContext(ctx, path, args...), text)
}

func feed(do func(func() error) error, cmd *exec.Cmd, text string) (string, error) {
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(text), &out, &out
	if err := do(cmd.Start); err != nil {
		return "", err
	}
	err := cmd.Wait()
	return strings.TrimRight(out.String(), "\n"), err
}
