package netnsenv

import (
	"fmt"

	"github.com/ctexp/go-ctexp/internal/plain"
)

// Likeness is a network namespace as Like has copied it.
type Likeness struct {
	// Config makes an Env like the namespace. Its Links are the interfaces that lead out of the namespace, and its Rules all
	// rules, in an order in which they can be loaded; they may name links that are not there. Change it as you like.
	Config Config
	// NotCopied is what the Env lacks, or has otherwise than the namespace, in the order of Part.
	NotCopied []NotCopied
}

// NotCopied is something of a namespace that its Likeness does not have, or has otherwise.
type NotCopied struct {
	Part Part   // what it belongs to
	Name string // which one: that of an interface, a route as ip route takes it, a sysctl; empty: all of the part
	Why  string // what is not copied, and why
	Need string // what would make it possible, as in nf.UnsupportedError; empty: nothing
	Hint string // how to get Need
}

// String returns one line: "route default via 10.0.0.1 dev eth0: its second next hop".
func (n NotCopied) String() string {
	s := string(n.Part)
	if n.Name != "" {
		s += " " + n.Name
	}
	s += ": " + n.Why
	if n.Need != "" {
		s += fmt.Sprintf(" (needs %s: %s)", n.Need, n.Hint)
	}
	return plain.Line(s)
}

// Part is a part of a network namespace.
type Part string

// The parts of a network namespace, in the order of Likeness.NotCopied.
const (
	PartInterface   Part = "interface"
	PartAddress     Part = "address"
	PartRoute       Part = "route"
	PartRoutingRule Part = "routing rule"
	PartNeighbour   Part = "neighbour"
	PartSysctl      Part = "sysctl"
	PartRules       Part = "rules"   // of nftables, iptables and the like
	PartEntries     Part = "entries" // of conntrack
	PartOther       Part = "other"   // what else decides about packets: filters of tc, IPVS, IPsec
)

// parts returns the parts in their order.
func parts() []Part {
	return []Part{PartInterface, PartAddress, PartRoute, PartRoutingRule, PartNeighbour, PartSysctl, PartRules, PartEntries, PartOther}
}
