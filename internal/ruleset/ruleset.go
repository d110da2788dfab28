// Package ruleset loads and reads rules of nft and iptables. A Text is loaded by Load or LoadCommands, which explain
// what is wrong with it. A Ruleset is read from a namespace by Read, which prints each rule as text. Ruleset.Drops
// returns the rules that drop packets, each as a Drop.
package ruleset

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// Text is a text of rules for nft or iptables.
type Text struct {
	Program  string    // "nft", an nf.Variant of iptables, or "ipset"
	Family   nf.Family // IPv4 or IPv6, for iptables
	Text     string    // the input of nft -f, iptables-restore or ipset restore
	Commands []string  // instead of Text: single iptables commands, see LoadCommands
	Optional []string  // patterns of path.Match for links that may be missing
	Folder   string    // where nft finds the files that the text includes; empty: in the folder of the process
	Define   []string  // of nft -D: "name=value"
	MayBlank bool      // a text without any rule, which the programs take without a word, is no error
}

// ipsetProgram is the Program of a Text in the format of ipset save.
const ipsetProgram = "ipset"

// checkBlank returns an error for a blank text that may not be blank: most likely a template or a file that was meant to have rules.
func (t Text) checkBlank() error {
	if t.MayBlank {
		return nil
	}
	what := "the text is empty or has only comments"
	switch {
	case t.Text == "" && t.Program != "nft" && t.Program != ipsetProgram:
		what = "there is neither a text nor a command"
	case t.Program == "nft" && len(nftWords(t.Text)) > 0:
		what = "the text only includes files that are not there or have no rules"
	}
	return fmt.Errorf("%s rules: there are no rules: %s; if none are meant, leave it out, or say so by AllowEmpty", t.Program, what)
}

// isBlank reports whether the text has nothing but blanks and comments.
func (t Text) isBlank() bool {
	if len(t.Commands) > 0 {
		return false
	}
	if t.Program == "nft" {
		return len(t.included(t.Text, maxIncludes)) == 0 && !t.includesElsewhere()
	}
	for line := range strings.Lines(t.Text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return false
		}
	}
	return true
}

// includesElsewhere reports whether the text includes a file that nft may find in its own folder (nftables, src/libnftables.c,
// DEFAULT_INCLUDE_PATH), or must find: a name that is no pattern.
func (t Text) includesElsewhere() bool {
	words := nftWords(t.Text)
	for i, w := range words {
		if w.quoted || w.text != "include" || i+1 == len(words) {
			continue
		}
		name := words[i+1].text
		if filepath.IsAbs(name) {
			continue
		}
		here, _ := filepath.Glob(filepath.Join(t.Folder, name))
		var elsewhere []string
		if !strings.HasPrefix(name, "./") {
			elsewhere, _ = filepath.Glob(filepath.Join("/etc", name))
		}
		if len(elsewhere) > 0 || len(here) == 0 && !strings.ContainsAny(name, "*?[") {
			return true
		}
	}
	return false
}

// Namespace is a network namespace.
type Namespace interface {
	// Do runs f on a thread that is in the namespace and returns what f returns.
	Do(f func() error) error
}

// Place is a rule, or a policy that drops, where it is reached.
type Place struct {
	Rule nf.Rule // without counts
	// Hook and Priority are those of the base chain that the rule is in or is reached from.
	Hook     nf.Hook
	Priority int32
	NoIP     bool // it is in a table of another family than ip, ip6 and inet, where there are no probes; Hook is zero
	// Contents is what the rule names and its text does not show, such as the elements of a named set, as text for comparison; empty if
	// there is nothing. It does not have what packets and time change: counts, and what is left of timeouts.
	Contents string
}

// FamilyName returns the name of a family of nftables as nft writes it (include/uapi/linux/netfilter.h, NFPROTO_*).
func FamilyName(family uint8) string {
	name, ok := map[uint8]string{1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}[family]
	if !ok {
		return fmt.Sprintf("family(%d)", family)
	}
	return name
}

// lineOf returns the n-th line of text, counted from 1, or "" if there is none.
func lineOf(text string, n int) string {
	lines := strings.Split(text, "\n")
	if n < 1 || n > len(lines) {
		return ""
	}
	return lines[n-1]
}

// isRule reports whether removing a line does not change the meaning of other lines.
func isRule(l string) bool {
	l = strings.TrimSpace(l)
	return !strings.HasPrefix(l, "*") && strings.Count(l, "{") == strings.Count(l, "}")
}

// splitArguments splits a line like a shell that supports only blanks, quotes and backslashes.
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
		return nil, errors.New("unterminated quote or backslash")
	}
	if inWord {
		args = append(args, word.String())
	}
	return args, nil
}

// iptablesPath returns the path of the variant's program for a family; suffix is "", "-restore" or "-save".
func iptablesPath(v nf.Variant, f nf.Family, suffix string) (string, error) {
	if v != nf.IPTablesLegacy && v != nf.IPTablesNFT {
		return "", fmt.Errorf("iptables variant %q: want %q or %q", v, nf.IPTablesLegacy, nf.IPTablesNFT)
	}
	name := string(v)
	if f == nf.IPv6 {
		name = strings.Replace(name, "iptables", "ip6tables", 1)
	}
	path, err := lookPath(name + suffix)
	if err != nil {
		return "", &nf.UnsupportedError{Need: string(v), Hint: "install iptables, on Debian and Ubuntu: apt-get install iptables", Err: err}
	}
	return path, nil
}

// nftPath returns the path of the program nft.
func nftPath() (string, error) {
	path, err := lookPath("nft")
	if err != nil {
		return "", &nf.UnsupportedError{Need: "nft", Hint: "install nftables, on Debian and Ubuntu: apt-get install nftables", Err: err}
	}
	return path, nil
}

// lookPath is exec.LookPath that also searches the sbin directories, which are often not in the PATH of an unprivileged
// user.
func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		p := filepath.Join(dir, name)
		if st, serr := os.Stat(p); serr == nil && st.Mode()&0o111 != 0 && !st.IsDir() {
			return p, nil
		}
	}
	return "", err
}

// run runs a program in the namespace with text as its input and returns its output.
func run(ns Namespace, cmd *exec.Cmd, text string) (string, error) {
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(text), &out, &out
	if err := ns.Do(cmd.Start); err != nil {
		return "", err
	}
	err := cmd.Wait()
	return strings.TrimRight(out.String(), "\n"), err
}

// Listing is the output of a program that lists rules with their counters.
type Listing struct {
	Program string // "nft", or an nf.Variant of iptables
	Text    string // its output, without the tables of ctexp
}

// Listings lists the rules by the programs that may have made them: nft, and the iptables-save of each variant. The
// function run runs a program in the namespace and returns its output. Missing programs are skipped.
func Listings(rules []nf.Rule, run func(name string, args ...string) ([]byte, error)) (all []Listing, errs []error) {
	seen := map[nf.Rule]bool{}
	for _, r := range rules {
		of := nf.Rule{Backend: r.Backend, Family: r.Family}
		if r.Backend == "nft" {
			of.Family = "" // one listing has all families
		}
		if seen[of] {
			continue
		}
		seen[of] = true
		path, args, err := lister(of)
		if errors.Is(err, errors.ErrUnsupported) {
			continue
		}
		var text []byte
		if err == nil {
			text, err = run(path, args...)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("list the rules of %s: %w", r.Backend, err))
			continue
		}
		all = append(all, Listing{r.Backend, withoutOurs(string(text))})
	}
	return all, errs
}

// lister returns the program that lists the rules of a backend and family, and its arguments.
func lister(of nf.Rule) (path string, args []string, err error) {
	if of.Backend == "nft" {
		path, err = nftPath()
		return path, []string{"-a", "list", "ruleset"}, err
	}
	family := nf.IPv4
	if of.Family == "ip6" {
		family = nf.IPv6
	}
	path, err = iptablesPath(nf.Variant(of.Backend), family, "-save")
	return path, []string{"-c"}, err
}

// withoutOurs removes our own tables from the output of "nft list ruleset", where the first and the last line of a
// table begin in the first column.
func withoutOurs(listing string) string {
	var b strings.Builder
	skip := false
	for line := range strings.Lines(listing) {
		words := strings.Fields(line)
		own := len(words) > 2 && words[0] == "table" && words[2] == ours.Table && (words[1] == "inet" || words[1] == "netdev")
		if own && strings.HasPrefix(line, "table") {
			skip = true
		}
		if !skip {
			b.WriteString(line)
		}
		if strings.HasPrefix(line, "}") {
			skip = false
		}
	}
	return b.String()
}
