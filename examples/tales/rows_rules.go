package main

import (
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// ruleRows are about counting with rules.
var ruleRows = []row{
	{
		id:      "no-target-rule",
		claim:   "a rule without a target counts packets and lets them on",
		article: fields{{says, "iptables -t mangle -A PREROUTING"}},
		verdict: confirmed,
		why:     "what the rule counted arrived at the input hook behind it",
		ask: func(b *bench) fields {
			l := b.open(plain(), atMangle)
			l.inject(packet.SYNs(b.packets, web))
			t := l.tally()
			return fields{{"rule_packets", l.counts()[atMangle]}, {"input", input(t)}}
		},
		expect: func(q question) expectations {
			return expectations{{"rule_packets", q.n}, {"input", q.n}}
		},
	},
	{
		id:      "policy-counters",
		claim:   "policy counters count only if there is at least one rule in the chain",
		article: fields{{says, "work only if there is at least one rule inside it"}},
		verdict: changed,
		ask: func(b *bench) fields {
			if b.backend == nftables {
				b.must(&nf.UnsupportedError{
					Need: "policy counters", Hint: "nftables has none; ask with -backend iptables-legacy or iptables-nft",
				})
			}
			return askPolicies(b)
		},
		expect: func(q question) expectations {
			if q.got.get("policy_set") != nil {
				return expectations{{"empty_chain", 0}, {"with_rule", 0}, {"policy_set", q.n}}
			}
			return expectations{{"empty_chain", q.n}, {"with_rule", q.n}}
		},
	},
}

func askPolicies(b *bench) fields {
	atInput := rule{at: filterInput}
	l := b.open(plain())
	l.load(atInput)
	b.must(l.unload()) // now the chain is there, and empty
	l.rules = nil

	l.inject(packet.SYNs(b.packets, web))
	empty := l.policy(filterInput)
	l.load(atInput)
	before := l.policy(filterInput)
	l.inject(packet.SYNs(b.packets, web))
	got := fields{{"empty_chain", empty}, {"with_rule", l.policy(filterInput) - before}}
	if b.backend == iptablesLegacy {
		b.note("once the table exists the policies of its chains count, with rules and without")
		return got
	}
	b.note("rules make no difference: the policy has a counter once it was set, even to what it is")
	b.must(netnsenv.IPTables(netnsenv.IPTablesNFT, "-P INPUT ACCEPT").Load(b.ctx, l.Env))
	before = l.policy(filterInput)
	l.inject(packet.SYNs(b.packets, web))
	return append(got, field{"policy_set", l.policy(filterInput) - before})
}
