package netnsenv

import (
	"context"
	"fmt"
	"regexp"
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
	out, err := e.feed(ctx, s.text+"\n", path, "--noflush", "--wait") // the legacy one wants the last line ended
	if err == nil {
		return nil
	}
	if m := regexp.MustCompile(`line:? (\d+)`).FindStringSubmatch(out); m != nil {
		n, _ := strconv.Atoi(m[1]) // it is all digits
		// Of an unknown target the nft variant complains at the line that commits it.
		if l := line(s.text, n); l != "" && strings.TrimSpace(l) != "COMMIT" {
			out += fmt.Sprintf("\nline %d is: %s", n, l)
		}
	}
	return fmt.Errorf("%s rules: %w:\n%s", s.variant, err, out)
}

// Load implements Ruleset.
func (s singleCommands) Load(ctx context.Context, e *Env) error {
	return e.iptables(s.variant, familyOf(s.ipv6), func(ipt *iptables.IPTables) error {
		for _, c := range s.commands {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("%s rule %q: %w", s.variant, c, context.Cause(ctx))
			}
			if err := runCommand(ipt, c); err != nil {
				return fmt.Errorf("%s rule %q: %w", s.variant, c, err)
			}
		}
		return nil
	})
}

// runCommand calls what go-iptables has for one command line of iptables.
func runCommand(ipt *iptables.IPTables, text string) error {
	args, err := splitArguments(text)
	if err != nil {
		return err
	}
	table := "filter"
	if len(args) >= 2 && (args[0] == "-t" || args[0] == "--table") {
		table, args = args[1], args[2:]
	}
	if len(args) < 2 {
		return fmt.Errorf("want [-t table] command chain …")
	}
	command, chain, rest := args[0], args[1], args[2:]
	switch command {
	case "-A", "--append":
		return ipt.Append(table, chain, rest...)
	case "-D", "--delete":
		return ipt.Delete(table, chain, rest...)
	case "-I", "--insert":
		position := 1
		if len(rest) > 0 {
			if n, err := strconv.Atoi(rest[0]); err == nil {
				position, rest = n, rest[1:]
			}
		}
		return ipt.Insert(table, chain, position, rest...)
	case "-N", "--new-chain":
		return ipt.NewChain(table, chain)
	case "-P", "--policy":
		if len(rest) != 1 {
			return fmt.Errorf("want -P chain target")
		}
		return ipt.ChangePolicy(table, chain, rest[0])
	}
	return fmt.Errorf("command %q: want -A, -D, -I, -N or -P after an optional -t table", command)
}

// splitArguments splits a line like a shell that knows blanks, quotes and backslashes and nothing else.
func splitArguments(text string) ([]string, error) {
	var args []string
	var word strings.Builder
	var quote rune
	inWord, escaped := false, false
	for _, r := range text {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, inWord = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, inWord = r, true
		case quote == 0 && (r == ' ' || r == '\t' || r == '\n'):
			if inWord {
				args = append(args, word.String())
				word.Reset()
				inWord = false
			}
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if quote != 0 || escaped {
		return nil, fmt.Errorf("a quote or a backslash is left open")
	}
	if inWord {
		args = append(args, word.String())
	}
	return args, nil
}
