package main

import (
	"errors"
	"io/fs"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// The ids that the order of asking, and what is prepared outside, go by.
const (
	unprivileged    = "unprivileged"
	kernelLog       = "kernel-log"
	perNamespace    = "per-namespace"
	beforeConntrack = "before-conntrack"
	limitEdges      = "limit-edges"
)

// tableRows are about the table and what happens when it is full.
var tableRows = []row{
	{
		id:      unprivileged,
		claim:   "an ordinary user can be root of a network namespace of his own, without threat to the host",
		article: fields{{says, "unshare -Ur -n"}},
		verdict: confirmed,
		why:     "the user namespace owns the network namespace, and nothing else",
		ask:     askUnprivileged,
		expect: func(q question) expectations {
			return expectations{{"uid_inside", 0}, {"host_limit_unchanged", true}}
		},
	},
	{
		id:      "ten-syns",
		claim:   "{N} SYNs are {N} captured packets, {N} entries, and {N} at both raw and mangle",
		article: fields{{"captured", 10}, {"entries", 10}, {"raw", 10}, {"mangle", 10}},
		verdict: confirmed,
		why:     "the article's script as it is, its rules set by other hands",
		ask: func(b *bench) fields {
			l := b.open(plain(), script...)
			l.inject(packet.SYNs(b.packets, web))
			t, c := l.tally(), l.counts()
			return fields{{"captured", l.captured()}, {"entries", t.Entries}, {"raw", c[atRaw]}, {"mangle", c[atMangle]}}
		},
		expect: func(q question) expectations {
			return expectations{{"captured", q.n}, {"entries", q.n}, {"raw", q.n}, {"mangle", q.n}}
		},
	},
	{
		id:      "table-full",
		claim:   "with {M} entries free, {N-M} of {N} SYNs vanish between raw and mangle",
		article: fields{{"captured", 10}, {"raw", 10}, {"mangle", 7}, {"dropped", 3}, {says, "they were hard dropped"}},
		verdict: confirmed,
		why:     "conntrack drops a packet that needs an entry and gets none",
		full:    true,
		ask: func(b *bench) fields {
			l := b.full(b.free, script...)
			l.inject(packet.SYNs(b.packets, web))
			t, c := l.tally(), l.counts()
			return append(fields{
				{"captured", l.captured()}, {"raw", c[atRaw]}, {"mangle", c[atMangle]},
				{"entries", t.Entries}, {"dropped", int(t.Dropped)},
			}, dice(t)...)
		},
		expect: func(q question) expectations {
			return expectations{
				{"captured", q.n}, {"raw", q.n}, {"mangle", q.through()}, {"entries", q.stay()},
				{"dropped", q.n - q.got.number("mangle")}, {"evicted", atLeast(0)},
			}
		},
	},
	{
		id:      kernelLog,
		claim:   `the kernel's log says "table full, dropping packet"`,
		article: fields{{says, "nf_conntrack: table full, dropping packet"}},
		verdict: confirmed,
		why:     "since 6.17 it also says in which namespace (aa5840167780)",
		full:    true,
		ask:     askKernelLog,
		expect: func(q question) expectations {
			return expectations{{"logged", true}, {"dropped", q.lost()}}
		},
	},
	{
		id:      "inactive",
		claim:   "without a rule that refers to it, conntrack is off in a namespace",
		article: fields{{says, "rules referencing conntrack must exist in the namespace's iptables"}},
		verdict: confirmed,
		why:     "the article's rule in raw, -j CT, does nothing else and switches it on",
		ask: func(b *bench) fields {
			cfg := plain()
			cfg.Conntrack = netnsenv.Off
			l := b.open(cfg, atMangle, noAnswers)
			l.inject(packet.SYNs(b.packets, web))
			without := l.tally()
			l.load(atRaw)
			l.inject(packet.SYNs(b.packets, web))
			return fields{{"without_rule", without.Entries}, {"with_rule", l.tally().Entries}}
		},
		expect: func(q question) expectations {
			return expectations{{"without_rule", 0}, {"with_rule", q.n}}
		},
	},
	{
		id:      perNamespace,
		claim:   "the limit is a global setting, but it holds for each namespace by itself",
		article: fields{{says, "each network namespace can have up to 256K conntrack entries"}},
		verdict: confirmed,
		why:     "one limit, a count for each namespace; in a child the limit is read-only (since 5.13, 2671fa4dc010)",
		full:    true,
		ask:     askPerNamespace,
		expect: func(q question) expectations {
			return expectations{
				{"entries_a", q.stay()}, {"entries_b", q.stay()}, {"dropped_a", q.lost()}, {"dropped_b", q.lost()},
				{"limit_writable_in_child", false},
			}
		},
	},
}

func askPerNamespace(b *bench) fields {
	a, other := b.full(b.free, script...), b.full(b.free, script...)
	a.inject(packet.SYNs(b.packets, web))
	other.inject(packet.SYNs(b.packets, web))
	ta, tb := a.tally(), other.tally()
	return append(fields{
		{"entries_a", ta.Entries}, {"entries_b", tb.Entries},
		{"dropped_a", int(ta.Dropped)}, {"dropped_b", int(tb.Dropped)},
		{"limit_writable_in_child", a.limitWritable()},
	}, dice(ta, tb)...)
}

// limitWritable tries to write the limit, with the value that it has already.
func (l *lab) limitWritable() bool {
	const limit = "net.netfilter.nf_conntrack_max"
	value, err := l.Env.Sysctl(limit)
	l.b.must(err)
	err = l.Env.SetSysctl(limit, value)
	if errors.Is(err, fs.ErrPermission) {
		return false
	}
	l.b.must(err)
	return true
}
