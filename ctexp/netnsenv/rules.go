package netnsenv

import (
	"context"
	"strings"

	"github.com/ctexp/go-ctexp/internal/xtables"
)

// Ruleset is something that puts rules into an Env. The package's own are NFT, IPTablesSave, IPTables and, on Linux,
// NFTables; a type of yours may be one as well.
type Ruleset interface {
	// Load puts the rules into the Env, or returns an error that says which of them it was.
	Load(ctx context.Context, e *Env) error
}

// Variant is one of the two iptables, by the name of its binary.
type Variant = xtables.Variant

// The variants of iptables. Legacy rules live in tables of their own (ip_tables), NFT rules in nftables.
const (
	IPTablesLegacy = xtables.Legacy
	IPTablesNFT    = xtables.NFT
)

// NFT is a text as nft -f takes it. It needs the program nft.
func NFT(text string) Ruleset { return nftText{text: text} }

// IPTablesSave is a text as iptables-save prints it, for IPv4; IP6TablesSave is its twin. Tables that it does not name stay as they are.
func IPTablesSave(v Variant, text string) Ruleset { return saveText{variant: v, text: text} }

// IP6TablesSave is a text as ip6tables-save prints it.
func IP6TablesSave(v Variant, text string) Ruleset {
	return saveText{variant: v, ipv6: true, text: text}
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
	return singleCommands{variant: v, commands: commands}
}

// IP6Tables is IPTables for IPv6.
func IP6Tables(v Variant, commands ...string) Ruleset {
	return singleCommands{variant: v, ipv6: true, commands: commands}
}

type nftText struct {
	text    string
	mayLack []string // links, see MissingLinks
}

type saveText struct {
	variant Variant
	ipv6    bool
	text    string
	mayLack []string
}

type singleCommands struct {
	variant  Variant
	ipv6     bool
	commands []string
	mayLack  []string
}

// line returns the n-th line of text, from 1, or "".
func line(text string, n int) string {
	lines := strings.Split(text, "\n")
	if n < 1 || n > len(lines) {
		return ""
	}
	return lines[n-1]
}
