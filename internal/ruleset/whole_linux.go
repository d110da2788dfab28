package ruleset

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Unread is what Whole could not read.
type Unread struct {
	What string // such as "nftables"
	Err  error  // an nf.UnsupportedError if a program is missing
}

// Whole returns all rules of a namespace but those of ctexp, as texts that make them again if they are loaded in this order,
// and what could not be read. It changes nothing: nft and the programs ending in -save list only what is there.
func Whole(ctx context.Context, ns Namespace) (texts []Text, unread []Unread) {
	w := whole{ctx: ctx, ns: ns}
	w.nftables()
	w.legacy()
	w.sets()
	return w.texts, w.unread
}

type whole struct {
	ctx    context.Context
	ns     Namespace
	texts  []Text
	unread []Unread
}

func (w *whole) lack(what string, err error) {
	w.unread = append(w.unread, Unread{what, err})
}

// output runs a program in the namespace and returns what it prints.
func (w *whole) output(path string, args ...string) (string, error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(w.ctx, path, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := w.ns.Do(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		if text, _, _ := strings.Cut(strings.TrimSpace(errs.String()), "\n"); text != "" {
			err = fmt.Errorf("%w: %s", err, text)
		}
		return "", err
	}
	return out.String(), nil
}

// nftables reads the tables of nftables. Those of iptables-nft are read by iptables-nft-save, because nft cannot print all of
// their rules so that it would load them again.
func (w *whole) nftables() {
	path, err := nftPath()
	if err != nil {
		w.lack("nftables", err)
		return
	}
	listing, err := w.output(path, "-s", "list", "ruleset")
	if err != nil {
		w.lack("nftables", err)
		return
	}
	for _, t := range tablesOf(withoutOurs(listing)) {
		if t.isIPTables() {
			if saved := w.saved(nf.IPTablesNFT, t.family(), "-t", t.name()); saved != "" {
				w.texts = append(w.texts, Text{Program: string(nf.IPTablesNFT), Family: t.family(), Text: saved})
				continue
			}
		}
		if extension.MatchString(t.text) {
			w.lack("table "+t.words[1]+" "+t.name(), errors.New("it has rules of iptables or ebtables that nft cannot print"))
			continue
		}
		last := len(w.texts) - 1
		if last < 0 || w.texts[last].Program != "nft" {
			w.texts = append(w.texts, Text{Program: "nft"})
			last++
		}
		w.texts[last].Text += t.text
	}
}

// saved returns what the -save program of a variant prints, or "" if that has no table.
func (w *whole) saved(v nf.Variant, f nf.Family, args ...string) string {
	path, err := iptablesPath(v, f, "-save")
	var text string
	if err == nil {
		text, err = w.output(path, args...)
	}
	if err != nil {
		w.lack(string(v)+" of "+f.String(), err)
		return ""
	}
	if !strings.Contains("\n"+text, "\n*") {
		return ""
	}
	return text
}

// legacy reads the tables of iptables-legacy, which the kernel names to the root of the namespace alone.
func (w *whole) legacy() {
	for _, f := range []struct {
		family nf.Family
		file   string
	}{{nf.IPv4, "ip_tables_names"}, {nf.IPv6, "ip6_tables_names"}, {0, "arp_tables_names"}} {
		var names []byte
		err := w.ns.Do(func() (err error) {
			names, err = os.ReadFile("/proc/thread-self/net/" + f.file)
			return err
		})
		switch {
		case errors.Is(err, fs.ErrNotExist): // the module is not loaded
		case err != nil:
			w.lack("iptables-legacy", err)
			return
		case len(bytes.TrimSpace(names)) == 0:
		case f.family == 0:
			w.lack("arptables-legacy", errors.New("an Env takes no rules of arptables-legacy"))
		default:
			if text := w.saved(nf.IPTablesLegacy, f.family); text != "" {
				w.texts = append(w.texts, Text{Program: string(nf.IPTablesLegacy), Family: f.family, Text: text})
			}
		}
	}
	modules, err := os.ReadFile("/proc/modules")
	if m := ebtables.Find(modules); err == nil && m != nil { // whether they are of this namespace, only ebtables-legacy can tell
		w.lack("ebtables-legacy", fmt.Errorf("the kernel has the module %s, but no list of the namespaces that use it", m))
	}
}

var ebtables = regexp.MustCompile(`(?m)^ebtable_(filter|nat|broute)\b`)

// sets reads the sets of ipset, which must be there before the rules.
func (w *whole) sets() {
	path, err := ipsetPath()
	if err != nil {
		if slices.ContainsFunc(w.texts, func(t Text) bool { return usesSets.MatchString(t.Text) }) {
			w.lack(ipsetProgram, err)
		}
		return
	}
	text, err := w.output(path, "save")
	switch {
	case err != nil && strings.Contains(err.Error(), "Cannot open session"): // the kernel has no sets
	case err != nil:
		w.lack(ipsetProgram, err)
	case strings.TrimSpace(text) != "":
		w.texts = append([]Text{{Program: ipsetProgram, Text: text}}, w.texts...)
	}
}

var usesSets = regexp.MustCompile(`--match-set|-j SET\b`)

// tableText is a table in the output of nft list ruleset.
type tableText struct {
	words []string // of the first line: table ip filter {
	text  string
}

func (t tableText) name() string { return t.words[2] }

func (t tableText) family() nf.Family {
	if t.words[1] == "ip6" {
		return nf.IPv6
	}
	return nf.IPv4
}

var (
	tableFlags = regexp.MustCompile(`(?m)^\tflags ([a-z, ]+)$\n`)
	chainBlock = regexp.MustCompile(`(?m)^\tchain (\S+) \{\n\t\ttype `)
	extension  = regexp.MustCompile(`(?m)\bxt (match|target|watcher)\b|^\t\t.*# *xt_`)
)

// tablesOf splits the output of nft list ruleset. A table with an owner would be gone when nft ends, so tables have none here.
func tablesOf(listing string) (all []tableText) {
	for line := range strings.Lines(listing) {
		if words := strings.Fields(line); len(words) > 2 && words[0] == "table" && strings.HasPrefix(line, "table") {
			all = append(all, tableText{words: words})
		}
		if len(all) > 0 {
			all[len(all)-1].text += line
		}
	}
	for i := range all {
		all[i].text = tableFlags.ReplaceAllStringFunc(all[i].text, withoutOwner)
	}
	return all
}

// withoutOwner removes owner and persist from the line with the flags of a table.
func withoutOwner(line string) string {
	flags := strings.FieldsFunc(strings.TrimPrefix(strings.TrimSpace(line), "flags"), func(r rune) bool { return r == ',' || r == ' ' })
	flags = slices.DeleteFunc(flags, func(f string) bool { return f == "owner" || f == "persist" })
	if len(flags) == 0 {
		return ""
	}
	return "\tflags " + strings.Join(flags, ",") + "\n"
}

// isIPTables reports whether a table looks like one of iptables-nft: its name, and all of its base chains, are those that iptables
// has.
func (t tableText) isIPTables() bool {
	if t.words[1] != "ip" && t.words[1] != "ip6" || !slices.Contains([]string{"filter", "nat", "mangle", "raw", "security"}, t.name()) {
		return false
	}
	chains := chainBlock.FindAllStringSubmatch(t.text, -1)
	return len(chains) > 0 && !slices.ContainsFunc(chains, func(c []string) bool {
		return !slices.Contains([]string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}, c[1])
	})
}
