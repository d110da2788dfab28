package netnsenv

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/coreos/go-iptables/iptables"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/xtables"
)

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
	try := restoreCheck(func(text string) (string, error) {
		return e.feed(ctx, text+"\n", path, append(restore, "--test")...) // the legacy one wants the last line ended
	})
	if s.variant == IPTablesNFT {
		try = e.chainCheck(try)
	}
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
	return rulesError(string(s.variant), s.text, bad, said, err, try)
}

// Load implements Ruleset.
func (s singleCommands) Load(ctx context.Context, e *Env) error {
	bad, err := e.missing(iptablesLinks(s.commands), s.mayLack, strings.Join(s.commands, "\n"))
	if err != nil {
		return err
	}
	if len(bad) > 0 {
		return &RulesError{Rules: string(s.variant), Problems: bad}
	}
	return e.iptables(s.variant, familyOf(s.ipv6), func(ipt *iptables.IPTables) error {
		for i, c := range s.commands {
			err := context.Cause(ctx)
			if err == nil {
				err = runCommand(ipt, c)
			}
			if err != nil {
				for _, done := range slices.Backward(s.commands[:i]) {
					undoCommand(ipt, done)
				}
				return fmt.Errorf("%s rule %q: %w", s.variant, c, err)
			}
		}
		return nil
	})
}

// runCommand calls what go-iptables has for one command line of iptables.
func runCommand(ipt *iptables.IPTables, text string) error {
	c, err := parseCommand(text)
	if err != nil {
		return err
	}
	switch c.command {
	case "-A", "--append":
		return ipt.Append(c.table, c.chain, c.rest...)
	case "-D", "--delete":
		return ipt.Delete(c.table, c.chain, c.rest...)
	case "-I", "--insert":
		return ipt.Insert(c.table, c.chain, c.position, c.rest...)
	case "-N", "--new-chain":
		return ipt.NewChain(c.table, c.chain)
	case "-P", "--policy":
		if len(c.rest) != 1 {
			return fmt.Errorf("want -P chain target")
		}
		return ipt.ChangePolicy(c.table, c.chain, c.rest[0])
	}
	return fmt.Errorf("command %q: want -A, -D, -I, -N or -P after an optional -t table", c.command)
}

// undoCommand takes back what a command has added, so that a list of them is not half done. What was deleted, and a policy
// that was changed, stay so.
func undoCommand(ipt *iptables.IPTables, text string) {
	c, err := parseCommand(text)
	if err != nil {
		return
	}
	switch c.command {
	case "-A", "--append", "-I", "--insert":
		_ = ipt.Delete(c.table, c.chain, c.rest...) // the error is that of the command that has failed
	case "-N", "--new-chain":
		_ = ipt.DeleteChain(c.table, c.chain)
	}
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
