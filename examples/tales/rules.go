package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

// backend is who sets the rules.
type backend string

const (
	nftables       backend = "nft"
	iptablesNFT    backend = "iptables-nft"
	iptablesLegacy backend = "iptables-legacy"
)

func parseBackend(name string) (backend, error) {
	b := backend(name)
	if !slices.Contains([]backend{nftables, iptablesNFT, iptablesLegacy}, b) {
		return b, fmt.Errorf("-backend %s: want %s, %s or %s", name, nftables, iptablesNFT, iptablesLegacy)
	}
	return b, nil
}

// rule is one rule of a row, for any backend to set. Every rule counts the packets that it matches.
type rule struct {
	at           place
	proto        nf.Proto
	sport, dport uint16
	state        nf.CTState // any of these classes
	burst        int        // only so many packets; one more in an hour
	then         target
}

// place is a chain of a table, by the names of iptables.
type place struct{ table, chain string }

var (
	rawPrerouting    = place{"raw", "PREROUTING"}
	rawOutput        = place{"raw", "OUTPUT"}
	manglePrerouting = place{"mangle", "PREROUTING"}
	mangleForward    = place{"mangle", "FORWARD"}
	manglePost       = place{"mangle", "POSTROUTING"}
	filterInput      = place{"filter", "INPUT"}
	filterOutput     = place{"filter", "OUTPUT"}
)

// target is what becomes of a packet that a rule matches, in the words of iptables. The zero target is none: the rule
// counts and lets packets on.
type target string

const (
	accept   target = "ACCEPT"
	drop     target = "DROP"
	refer    target = "CT" // nothing becomes of it, but the rule refers to conntrack
	notrack  target = "CT --notrack"
	synproxy target = "SYNPROXY --sack-perm --timestamp --wscale 7 --mss 1460"
	queue    target = "NFQUEUE --queue-num 0"
)

// The rules of the article's script.
var (
	atRaw     = rule{at: rawPrerouting, then: refer}                                  // iptables -t raw -A PREROUTING -j CT
	atMangle  = rule{at: manglePrerouting}                                            // iptables -t mangle -A PREROUTING
	noAnswers = rule{at: rawOutput, proto: nf.TCP, sport: web.Dst.Port(), then: drop} // iptables -t raw -A OUTPUT -p tcp --sport 80 -j DROP

	script = []rule{atRaw, atMangle, noAnswers}
)

// iptables is the rule as arguments of iptables, behind the command.
func (r rule) iptables() string {
	var s []string
	add := func(on bool, format string, args ...any) {
		if on {
			s = append(s, fmt.Sprintf(format, args...))
		}
	}
	add(true, "%s", r.at.chain)
	add(r.proto != 0, "-p %v", r.proto)
	add(r.sport != 0, "--sport %d", r.sport)
	add(r.dport != 0, "--dport %d", r.dport)
	add(r.state != 0, "-m conntrack --ctstate %s", strings.ToUpper(r.state.String()))
	add(r.burst != 0, "-m limit --limit 1/hour --limit-burst %d", r.burst)
	add(r.then != "", "-j %s", r.then)
	return strings.Join(s, " ")
}

// ruleset makes what loads rules into an Env.
func (l *lab) ruleset(rules []rule) netnsenv.Ruleset {
	if l.backend == nftables {
		return nftRules(rules)
	}
	return iptablesRules(l.backend, "-A", rules)
}

func iptablesRules(b backend, command string, rules []rule) netnsenv.Ruleset {
	var commands []string
	for _, r := range rules {
		commands = append(commands, fmt.Sprintf("-t %s %s %s", r.at.table, command, r.iptables()))
	}
	return netnsenv.IPTables(netnsenv.Variant(b), commands...)
}

// load adds rules to the lab.
func (l *lab) load(rules ...rule) { l.b.must(l.tryLoad(rules...)) }

// tryLoad is load for rules that the kernel may not have.
func (l *lab) tryLoad(rules ...rule) error {
	if len(rules) == 0 {
		return nil
	}
	if err := l.ruleset(rules).Load(l.b.ctx, l.Env); err != nil {
		l.spoiled = len(rules) > 1 // one rule is there or not
		return err
	}
	l.rules = append(l.rules, rules...)
	return nil
}

// unload takes all rules of the lab away again.
func (l *lab) unload() error {
	switch {
	case l.spoiled:
		return errSpoiled
	case len(l.rules) == 0:
		return nil
	case l.backend == nftables:
		return nftNoRules().Load(l.b.ctx, l.Env)
	}
	return iptablesRules(l.backend, "-D", l.rules).Load(l.b.ctx, l.Env)
}

// errSpoiled says that some of the rules may be in the namespace, and which is not known.
var errSpoiled = errors.New("loading rules has failed half-way")

// counts reads how many packets each of the lab's rules has counted.
func (l *lab) counts() map[rule]int {
	read, err := l.Observer.Rules(l.b.ctx)
	l.b.must(err)
	counts := map[rule]int{}
	for _, r := range l.rules {
		at := slices.IndexFunc(read, func(x observe.Rule) bool { return x.Kind == observe.KindRule && l.isAt(x, r.at) })
		if at < 0 {
			l.b.must(fmt.Errorf("the rule %q is not in the namespace", r.iptables()))
		}
		counts[r] = int(read[at].Packets)
		read = slices.Delete(read, at, at+1) // those of one chain are read in the order in which they were added
	}
	return counts
}

// isAt reports whether a rule that was read stands in a place.
func (l *lab) isAt(r observe.Rule, p place) bool {
	if l.backend == nftables {
		return r.Backend == string(nftables) && r.Table == nftTable && r.Chain == p.nft()
	}
	return r.Backend == string(l.backend) && r.Table == p.table && r.Chain == p.chain
}

// nft is the place as the name of a chain of nftables.
func (p place) nft() string { return strings.ToLower(p.table + "_" + p.chain) }

// nftTable is the table of nftables that has all the rules.
const nftTable = "tales"

// policy reads how many packets the policy of a chain of iptables has counted.
func (l *lab) policy(p place) int {
	read, err := l.Observer.Rules(l.b.ctx)
	l.b.must(err)
	for _, r := range read {
		if r.Kind == observe.KindPolicy && l.isAt(r, p) {
			return int(r.Packets)
		}
	}
	l.b.must(fmt.Errorf("%s %s has no policy in the namespace", p.table, p.chain))
	return 0
}
