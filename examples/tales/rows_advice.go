package main

import (
	"time"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// What the article advises against a flood, as rules.
var (
	inbound  = rule{at: rawPrerouting, proto: nf.TCP, dport: 80, then: notrack}
	outbound = rule{at: rawOutput, proto: nf.TCP, sport: 80, then: notrack}
)

// adviceRows are about what the article advises against running out of entries.
var adviceRows = []row{
	{
		id:      "notrack",
		claim:   "NOTRACK keeps SYNs out of the table, and they are answered",
		article: fields{{says, "consider avoiding conntrack on inbound connections (-j NOTRACK)"}},
		verdict: confirmed,
		why:     "with NOTRACK for both directions",
		ask: func(b *bench) fields {
			untracked := rule{at: manglePrerouting, state: nf.StateUntracked}
			l := b.open(plain(), inbound, outbound, untracked)
			b.listen(l)
			l.inject(packet.SYNs(b.packets, web))
			t := l.tally()
			return fields{
				{"synacks", len(l.synacks(time.Time{}))}, {"entries", t.Entries}, {"untracked", l.counts()[untracked]},
			}
		},
		expect: func(q question) expectations {
			return expectations{{"synacks", q.n}, {"entries", 0}, {"untracked", q.n}}
		},
	},
	{
		id:      "notrack-inbound-only",
		claim:   "NOTRACK on inbound connections is enough, even when the table is full",
		article: fields{{says, "consider avoiding conntrack on inbound connections (-j NOTRACK)"}},
		verdict: refined,
		why:     "the SYN+ACKs are tracked then, and need entries: the advice needs NOTRACK for the answers, too",
		full:    true,
		ask: func(b *bench) fields {
			l := b.full(0, inbound)
			b.listen(l)
			l.inject(packet.SYNs(b.packets, web))
			t := l.tally()
			return append(fields{
				{"synacks", len(l.synacks(time.Time{}))}, {"input", input(t)}, {"dropped", int(t.Dropped)},
			}, dice(t)...)
		},
		expect: func(q question) expectations {
			return expectations{{"synacks", 0}, {"input", q.n}, {"dropped", q.n}}
		},
	},
	{
		id:      "rate-limit",
		claim:   "a rate limit with DROP caps the number of flows",
		article: fields{{says, "this will work well and won't create new flows"}},
		verdict: confirmed,
		why:     "a burst of 5, and one more in an hour",
		ask: func(b *bench) fields {
			l := b.open(plain(), atMangle,
				rule{at: filterInput, proto: nf.TCP, dport: 80, burst: burst, then: accept},
				rule{at: filterInput, proto: nf.TCP, dport: 80, then: drop})
			b.listen(l)
			l.inject(packet.SYNs(b.packets, web))
			t := l.tally()
			return fields{
				{"synacks", len(l.synacks(time.Time{}))}, {"entries", t.Entries}, {"mangle", l.counts()[atMangle]},
			}
		},
		expect: func(q question) expectations {
			return expectations{{"synacks", min(burst, q.n)}, {"entries", min(burst, q.n)}, {"mangle", q.n}}
		},
	},
	{
		id:      "synproxy",
		claim:   "SYN cookies from before conntrack: a spoofed SYN makes no entry",
		article: fields{{says, "the best method though, would be to trigger SYN Cookies from a layer before conntrack"}},
		verdict: confirmed,
		why:     "SYNPROXY answers untracked SYNs by itself; the ACK that brings the cookie back makes the flow",
		ask:     askSynproxy,
		expect: func(q question) expectations {
			return expectations{{"synacks", q.n}, {"entries", 0}, {"entries_after_ack", 1}, {"state_after_ack", "ESTABLISHED"}}
		},
	},
	{
		id:      beforeConntrack,
		claim:   "to drop a flood before conntrack, at ingress or by XDP, costs no entry",
		article: fields{{says, "a layer before conntrack, like XDP. But this is a subject for another time"}},
		verdict: confirmed,
		ask:     askIngress,
		expect: func(q question) expectations {
			e := expectations{{"captured", q.n}, {"raw", 0}, {"entries", 0}}
			if q.got.get("xdp_dropped") != nil {
				e = append(e, expectations{{"xdp_dropped", q.n}, {"xdp_captured", 0}, {"xdp_raw", 0}, {"xdp_entries", 0}}...)
			}
			return e
		},
	},
}

// burst is how many packets the rate limit lets through at once.
const burst = 5

func askSynproxy(b *bench) fields {
	l := b.open(plain(), inbound,
		rule{at: filterInput, proto: nf.TCP, dport: 80, state: nf.StateInvalid | nf.StateUntracked, then: synproxy},
		rule{at: filterInput, state: nf.StateInvalid, then: drop})
	b.set(l, tcpLoose, "0") // else the ACK would be a flow of its own
	b.listen(l)
	l.inject(packet.SYNs(b.packets, web))
	t := l.tally()
	synacks := l.synacks(time.Time{})
	got := fields{{"synacks", len(synacks)}, {"entries", t.Entries}}

	cookie := synacks[web.Src.Port()].Seq
	l.inject(packet.Packets(web.TCP(packet.TCP{Flags: packet.FlagACK, Seq: 2, Ack: cookie + 1})))
	// The proxy now opens the connection to the listener by itself, over the loopback link.
	awaited := ctexp.Await(b.ctx, func() (bool, error) { return l.states() == nf.Established.String(), nil })
	if awaited != nil {
		b.note("the flow did not become ESTABLISHED: %v", awaited)
	}
	return append(got, field{"entries_after_ack", l.tally().Entries}, field{"state_after_ack", l.states()})
}

func askIngress(b *bench) fields {
	l := b.open(plain(), script...)
	l.dropAtIngress()
	l.inject(packet.SYNs(b.packets, web))
	t := l.tally()
	got := fields{{"captured", l.captured()}, {"raw", l.counts()[atRaw]}, {"entries", t.Entries}}
	if b.backend != nftables {
		b.note("iptables has no ingress hook: that rule is nftables'")
	}
	xdp, ok := b.hear(roleXDP)
	err := xdp.err()
	switch {
	case !ok:
		b.note("not asked by XDP: %v", b.before.lack(roleXDP, "real root", "run it as root of the host"))
	case err != nil:
		b.note("not asked by XDP: %v", err)
	default:
		b.note("likewise by XDP, where not even the capture sees the packets")
	}
	return append(got, xdp.Got...)
}
