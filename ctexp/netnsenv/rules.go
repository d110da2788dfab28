package netnsenv

import (
	"context"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ruleset"
)

// Ruleset loads rules into an Env. NFT, IPTablesSave, IPTables, IPSetSave and, on Linux, NFTables return Rulesets; other types may
// implement it.
type Ruleset interface {
	// Load loads the rules, or returns an error that names the wrong ones, or says that there are none (see AllowEmpty).
	Load(ctx context.Context, e *Env) error
}

// Variant is one of the two iptables, by the name of its binary.
type Variant = nf.Variant

// The variants of iptables. Legacy rules are in tables of their own (ip_tables), NFT rules in nftables.
const (
	IPTablesLegacy = nf.IPTablesLegacy
	IPTablesNFT    = nf.IPTablesNFT
)

// RulesError lists all problems found in the text of a ruleset.
type RulesError = nf.RulesError

// RuleProblem is a problem with one line of a ruleset.
type RuleProblem = nf.RuleProblem

// NFT returns a Ruleset for a text in the format of nft -f. It needs the program nft.
func NFT(text string) Ruleset { return rulesText{ruleset.Text{Program: "nft", Text: text}} }

// NFTOptions are what nft is told beside a text.
type NFTOptions struct {
	// Folder is where nft finds the files that the text includes, also those of "./file". Empty: in the folder of the process.
	Folder string
	// Define has values of variables, as nft -D takes them: "wan=eth0".
	Define []string
}

// NFTWith is NFT with options.
func NFTWith(o NFTOptions, text string) Ruleset {
	return rulesText{ruleset.Text{Program: "nft", Text: text, Folder: o.Folder, Define: o.Define}}
}

// IPTablesSave returns a Ruleset for a text in the format of iptables-save, for IPv4. It does not change tables that
// are not in the text.
func IPTablesSave(v Variant, text string) Ruleset {
	return rulesText{ruleset.Text{Program: string(v), Family: nf.IPv4, Text: text}}
}

// IP6TablesSave is IPTablesSave for IPv6.
func IP6TablesSave(v Variant, text string) Ruleset {
	return rulesText{ruleset.Text{Program: string(v), Family: nf.IPv6, Text: text}}
}

// IPSetSave returns a Ruleset for a text in the format of ipset save, as ipset restore takes it. It stands before the rules that
// use its sets by -m set. It needs the program ipset; where the kernel lacks sets or a type of them, the error has the module.
//
//	Rules: []netnsenv.Ruleset{
//		netnsenv.IPSetSave("create blocked hash:net\nadd blocked 198.51.100.0/24"),
//		netnsenv.IPTables(netnsenv.IPTablesNFT, "-A INPUT -m set --match-set blocked src -j DROP"),
//	}
//
// Loading ends at the first wrong line, and the sets that the text has created until then are destroyed.
func IPSetSave(text string) Ruleset { return rulesText{ruleset.Text{Program: "ipset", Text: text}} }

// IPTables returns a Ruleset for single commands, each with the arguments of one call of iptables, for IPv4:
//
//	netnsenv.IPTables(netnsenv.IPTablesLegacy,
//		"-t raw -A PREROUTING -j CT",
//		"-t raw -A OUTPUT -p tcp --sport 80 -j DROP")
//
// The commands are -A, -I, -D, -N and -P. Quotes and backslashes have the same meaning as in a shell. If some commands
// fail, a RulesError lists them all, and the effects of the others are undone.
func IPTables(v Variant, commands ...string) Ruleset {
	return singleCommands{ruleset.Text{Program: string(v), Family: nf.IPv4, Commands: commands}}
}

// IP6Tables is IPTables for IPv6.
func IP6Tables(v Variant, commands ...string) Ruleset {
	return singleCommands{ruleset.Text{Program: string(v), Family: nf.IPv6, Commands: commands}}
}

// rulesText is a Ruleset with a whole text, singleCommands one with single commands.
type (
	rulesText      struct{ ruleset.Text }
	singleCommands struct{ ruleset.Text }
)

// MissingLinks returns a copy of r that may name these links even if the Env does not have them; without names, any
// links. A rule for a missing link never matches, and is otherwise an error:
//
//	netnsenv.MissingLinks(netnsenv.IPTablesSave(v, production), "docker0", "br-*")
//
// A Helper, a TimeoutPolicy and an Expect may then match any links. Wildcards (eth+ of iptables, "eth*" of nft) are never an error, nor are links in an NFTables function. Links that nft
// or the kernel itself requires, such as those of iif or the devices of a flowtable, must exist in any case.
func MissingLinks(r Ruleset, names ...string) Ruleset {
	if len(names) == 0 {
		names = []string{"*"}
	}
	switch r := r.(type) {
	case rulesText:
		r.Optional = append(slices.Clone(r.Optional), names...)
		return r
	case singleCommands:
		r.Optional = append(slices.Clone(r.Optional), names...)
		return r
	case Helper:
		r.anyLink = true
		return r
	case TimeoutPolicy:
		r.anyLink = true
		return r
	case Expect:
		r.anyLink = true
		return r
	}
	return r
}

// AllowEmpty returns a copy of r whose text may have no rules. A text with nothing but blanks and comments, or no command at all, is
// otherwise an error when it is loaded: a template that has rendered to nothing, or the wrong file. A Config without rules needs
// none; AllowEmpty is for rules that somebody else makes, some of which are empty:
//
//	netnsenv.AllowEmpty(netnsenv.NFT(generate(service)))
func AllowEmpty(r Ruleset) Ruleset {
	switch r := r.(type) {
	case rulesText:
		r.MayBlank = true
		return r
	case singleCommands:
		r.MayBlank = true
		return r
	case listing:
		r.mayBeEmpty = true
		return r
	}
	return r
}

// LinksOf returns the names of the links that the text of a Ruleset names, each once and in the order of the text, with wildcards
// as they are written. Of a Ruleset without a text, such as an NFTables function, nothing is known, and LinksOf returns nil.
func LinksOf(r Ruleset) []string {
	switch r := r.(type) {
	case rulesText:
		return r.LinkNames()
	case singleCommands:
		return r.LinkNames()
	}
	return nil
}
