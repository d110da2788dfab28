package cases

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/plain"
)

// Rules returns a text of rules as a Ruleset that is of the kind that it looks like: nft, iptables-save or ip6tables-save,
// commands of iptables one in a line, ipset save, or a listing of conntrack in any form, whose entries and expectations are put into
// the table. The name is that of the
// file; errors begin with it, and nft finds included files in its folder. What nft -D takes, such as "wan=eth0", may follow.
//
// Rules of iptables are loaded by iptables-nft, whose rules can be traced, if that is installed, else by iptables-legacy.
func Rules(name, text string, define ...string) (netnsenv.Ruleset, error) {
	r, err := rulesOf(strings.TrimPrefix(text, "\ufeff"), netnsenv.NFTOptions{Folder: filepath.Dir(name), Define: define})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return named{name, r}, nil
}

// named is a Ruleset of a file.
type named struct {
	name string
	netnsenv.Ruleset
}

// Load implements netnsenv.Ruleset.
func (n named) Load(ctx context.Context, e *netnsenv.Env) error {
	if err := n.Ruleset.Load(ctx, e); err != nil {
		return &FileError{n.name, err}
	}
	return nil
}

// FileError is an error in a file with rules.
type FileError struct {
	File string // its name
	Err  error  // what is wrong; often a *nf.RulesError
}

// Error returns a line for each problem, with its place: "my.nft:3:9: "fwd" is a keyword of nft and cannot be a name: chain fwd {".
func (e *FileError) Error() string {
	var rules *nf.RulesError
	if !errors.As(e.Err, &rules) || len(rules.Problems) == 0 {
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	var lines []string
	for _, p := range rules.Problems {
		file, column := e.File, ""
		if p.File != "" {
			file = filepath.Join(filepath.Dir(e.File), p.File)
		}
		if p.Column > 0 {
			column = fmt.Sprintf(":%d", p.Column)
		}
		lines = append(lines, plain.Line(fmt.Sprintf("%s:%d%s: %s: %s", file, p.Line, column, p.Why, strings.TrimSpace(p.Text))))
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns Err.
func (e *FileError) Unwrap() error { return e.Err }

// nftWords are the words that nft texts begin with.
var nftWords = []string{"table", "flush", "define", "include", "add", "create", "delete", "destroy", "insert", "replace", "undefine", "redefine"}

// savedTable and nftTable are lines of texts that begin with something else, such as the prompt of a shell: what is wrong with that is
// for those to say who read the rules.
var (
	savedTable = regexp.MustCompile(`(?m)^\*(filter|nat|mangle|raw|security)\s*$`)
	nftTable   = regexp.MustCompile(`(?m)^table (inet|ip|ip6|arp|bridge|netdev) \S+ \{`)
)

// ipsetLine is a line of ipset save.
var ipsetLine = regexp.MustCompile(`^(create|-N) \S+ (hash|bitmap|list):`)

// kinds of texts that are recognized, but not read, and what to do.
var refused = []struct {
	is     func(first string) bool
	reason string
}{
	{func(l string) bool { return strings.HasPrefix(l, "{") || strings.HasPrefix(l, "[") }, "looks like JSON: want the text of nft list ruleset without -j"},
	{func(l string) bool { return strings.HasPrefix(l, "<") }, "looks like XML: want the rules that it stands for, as nft list ruleset or iptables-save prints them"},
	{func(l string) bool { return strings.HasPrefix(l, "Chain ") }, "looks like iptables -L: want the output of iptables-save"},
}

func rulesOf(text string, o netnsenv.NFTOptions) (netnsenv.Ruleset, error) {
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	text = strings.Join(lines, "\n")
	first, number := "", 0
	for i, l := range lines {
		if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "#") {
			first, number = l, i+1
			break
		}
	}
	switch l, _ := nf.ParseListing(text); { // wrong lines are told when it is loaded
	case len(l.Entries)+len(l.Expectations) > 0:
		return netnsenv.Listing(text), nil
	}
	for _, r := range refused {
		if r.is(first) {
			return nil, fmt.Errorf("line %d: %s", number, r.reason)
		}
	}
	if ipsetLine.MatchString(first) {
		return netnsenv.IPSetSave(text), nil
	}
	word := strings.FieldsFunc(first+" ", func(r rune) bool { return r == ' ' || r == '\t' || r == '{' })
	switch {
	case first == "":
		return nil, fmt.Errorf("there are no rules: the file is empty or has only comments")
	case strings.ContainsRune(text, 0):
		return nil, fmt.Errorf("is no text")
	case strings.HasPrefix(first, "*") || strings.HasPrefix(first, ":") || savedTable.MatchString(text):
		if isIPv6(text) {
			return netnsenv.IP6TablesSave(variant(), text), nil
		}
		return netnsenv.IPTablesSave(variant(), text), nil
	case strings.HasPrefix(first, "-") || strings.HasPrefix(word[0], "iptables") || strings.HasPrefix(word[0], "ip6tables"):
		return commands(lines)
	case slices.Contains(nftWords, word[0]), nftTable.MatchString(text):
		return netnsenv.NFTWith(o, text), nil
	}
	return nil, fmt.Errorf("line %d: %q begins no rules that are known: nft, iptables-save, commands of iptables, ipset save, or conntrack -L", number, shortened(first))
}

// commands makes a Ruleset of lines with one command of iptables each, with or without the name of the program.
func commands(lines []string) (netnsenv.Ruleset, error) {
	var all []string
	six := false
	for i, l := range lines {
		l = strings.TrimSpace(l)
		if l == "" || strings.HasPrefix(l, "#") {
			continue
		}
		args := l
		if program, rest, ok := strings.Cut(l, " "); ok && strings.HasPrefix(program, "ip") && strings.Contains(program, "tables") {
			is6 := strings.HasPrefix(program, "ip6")
			if len(all) > 0 && is6 != six {
				return nil, fmt.Errorf("line %d: commands of iptables and ip6tables in one file: make two of it", i+1)
			}
			six, args = is6, strings.TrimSpace(rest)
		} else if !strings.HasPrefix(l, "-") {
			return nil, fmt.Errorf("line %d: %q is no command of iptables", i+1, shortened(l))
		}
		all = append(all, args)
	}
	if six {
		return netnsenv.IP6Tables(variant(), all...), nil
	}
	return netnsenv.IPTables(variant(), all...), nil
}

// ipv6Sign is what only rules of ip6tables have.
var ipv6Sign = regexp.MustCompile(`(?m)^# Generated by ip6tables|-[sd] [0-9a-f]*:[0-9a-f:]*|ipv6-icmp|icmp6-`)

func isIPv6(text string) bool { return ipv6Sign.MatchString(text) }

// variant returns the variant of iptables that rules are loaded with.
func variant() netnsenv.Variant {
	for _, dir := range []string{"", "/usr/sbin/", "/sbin/", "/usr/local/sbin/"} {
		if _, err := exec.LookPath(dir + string(netnsenv.IPTablesNFT)); err == nil {
			return netnsenv.IPTablesNFT
		}
	}
	return netnsenv.IPTablesLegacy
}

// shortened returns the beginning of a line.
func shortened(l string) string {
	const most = 40 // letters
	if r := []rune(l); len(r) > most {
		return string(r[:most]) + "…"
	}
	return l
}
