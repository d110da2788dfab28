package netnsenv

import (
	"context"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ruleset"
)

// Ruleset is something that puts rules into an Env. The package's own are NFT, IPTablesSave, IPTables and, on Linux,
// NFTables; a type of yours may be one as well.
type Ruleset interface {
	// Load puts the rules into the Env, or returns an error that says which of them it was.
	Load(ctx context.Context, e *Env) error
}

// Variant is one of the two iptables, by the name of its binary.
type Variant = nf.Variant

// The variants of iptables. Legacy rules live in tables of their own (ip_tables), NFT rules in nftables.
const (
	IPTablesLegacy = nf.IPTablesLegacy
	IPTablesNFT    = nf.IPTablesNFT
)

// RulesError says what is wrong with a text of rules, all of it that can be told.
type RulesError = nf.RulesError

// RuleProblem is one thing that is wrong with a line of a text of rules.
type RuleProblem = nf.RuleProblem

// NFT is a text as nft -f takes it. It needs the program nft.
func NFT(text string) Ruleset { return rulesText{ruleset.Text{Program: "nft", Text: text}} }

// IPTablesSave is a text as iptables-save prints it, for IPv4. Tables that it does not name stay as they are.
func IPTablesSave(v Variant, text string) Ruleset {
	return rulesText{ruleset.Text{Program: string(v), Family: nf.IPv4, Text: text}}
}

// IP6TablesSave is a text as ip6tables-save prints it.
func IP6TablesSave(v Variant, text string) Ruleset {
	return rulesText{ruleset.Text{Program: string(v), Family: nf.IPv6, Text: text}}
}

// IPTables is a list of single commands, each the arguments of one call of iptables in a line, for IPv4:
//
//	netnsenv.IPTables(netnsenv.IPTablesLegacy,
//		"-t raw -A PREROUTING -j CT",
//		"-t raw -A OUTPUT -p tcp --sport 80 -j DROP")
//
// The commands are -A, -I, -D, -N, -P; quotes and backslashes mean what they mean in a shell. When some fail, one RulesError
// names them all, and nothing is left of the others: what they added is gone, what they deleted is back in its place, and
// policies are as they were.
func IPTables(v Variant, commands ...string) Ruleset {
	return singleCommands{ruleset.Text{Program: string(v), Family: nf.IPv4, Commands: commands}}
}

// IP6Tables is IPTables for IPv6.
func IP6Tables(v Variant, commands ...string) Ruleset {
	return singleCommands{ruleset.Text{Program: string(v), Family: nf.IPv6, Commands: commands}}
}

// rulesText is a whole text for a program, singleCommands one command after another.
type (
	rulesText      struct{ ruleset.Text }
	singleCommands struct{ ruleset.Text }
)

// MissingLinks returns r with the allowance to name these links, which the Env need not have; without names any. A rule
// for a link that is not there never matches, so that without this it is an error:
//
//	netnsenv.MissingLinks(netnsenv.IPTablesSave(v, production), "docker0", "br-*")
//
// Wildcards (eth+ of iptables, "eth*" of nft) are no error in any case, nor is what Go code says. What nft or the kernel
// refuse by themselves, such as iif or the devices of a flowtable, this does not make them take.
func MissingLinks(r Ruleset, names ...string) Ruleset {
	if len(names) == 0 {
		names = []string{"*"}
	}
	switch r := r.(type) {
	case rulesText:
		r.MayLack = append(slices.Clone(r.MayLack), names...)
		return r
	case singleCommands:
		r.MayLack = append(slices.Clone(r.MayLack), names...)
		return r
	}
	return r
}
