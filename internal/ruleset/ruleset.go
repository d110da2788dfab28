// Package ruleset loads the user's rules, in the languages of nft and iptables, explains what is wrong with a text of rules,
// reads the rules that a namespace has, prints them, and finds those that drop packets.
//
// Text is what is loaded (Load, LoadCommands), Reader reads a namespace's rules into a Ruleset, and Drop is a rule of it that
// drops packets.
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

// Text is rules in the language of nft or of an iptables.
type Text struct {
	Program  string    // "nft", or the name of an nf.Variant
	Family   nf.Family // IPv4 or IPv6, of an iptables
	Text     string    // as nft -f or iptables-restore takes it
	Commands []string  // instead of Text: single commands of iptables, see LoadCommands
	MayLack  []string  // patterns of path.Match of links that need not be there
}

// Namespace is where rules are.
type Namespace interface {
	// Do runs f on a thread that is in the namespace and returns what f returns.
	Do(f func() error) error
}

// FamilyName returns the name of a family of nftables as nft writes it (include/uapi/linux/netfilter.h, NFPROTO_*).
func FamilyName(family uint8) string {
	name, ok := map[uint8]string{1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}[family]
	if !ok {
		return fmt.Sprintf("family(%d)", family)
	}
	return name
}

// lineOf returns the n-th line of text, from 1, or "".
func lineOf(text string, n int) string {
	lines := strings.Split(text, "\n")
	if n < 1 || n > len(lines) {
		return ""
	}
	return lines[n-1]
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

// iptablesPath returns where the variant's program for a family is; suffix is "", "-restore" or "-save".
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

// nftPath returns where the program nft is.
func nftPath() (string, error) {
	path, err := lookPath("nft")
	if err != nil {
		return "", &nf.UnsupportedError{Need: "nft", Hint: "install nftables, on Debian and Ubuntu: apt-get install nftables", Err: err}
	}
	return path, nil
}

// lookPath is exec.LookPath that also looks into /usr/sbin and /sbin, which an ordinary user's PATH lacks.
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

// run runs a program in the namespace with text as its input and returns what it printed.
func run(ns Namespace, cmd *exec.Cmd, text string) (string, error) {
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(text), &out, &out
	if err := ns.Do(cmd.Start); err != nil {
		return "", err
	}
	err := cmd.Wait()
	return strings.TrimRight(out.String(), "\n"), err
}

// Listing is the rules in the words of a program that lists them, with what they have counted.
type Listing struct {
	Program string // "nft", or the name of an nf.Variant
	Text    string
}

// Listings lists rules by the programs that speak their languages: nft, and the iptables-save of those that made some. Function
// run runs a program in the namespace and returns what it printed. A program that is not there is done without.
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

// lister returns the program that lists rules of a kind, and its arguments.
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

// withoutOurs cuts our own tables out of what "nft list ruleset" prints, where a table begins in the first column, and ends
// there.
func withoutOurs(listing string) string {
	var b strings.Builder
	skip := false
	for line := range strings.Lines(listing) {
		words := strings.Fields(line)
		if len(words) > 2 && words[0] == "table" && words[2] == ours.Table && strings.HasPrefix(line, "table") {
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
