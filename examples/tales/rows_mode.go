package main

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

const tcpLoose = "net.netfilter.nf_conntrack_tcp_loose"

// modeRows are about stray ACKs, in loose and in strict mode.
var modeRows = []row{
	{
		id:      "loose-ack",
		claim:   "loose, which is the default: a stray ACK creates a flow",
		article: fields{{says, "stray ACK packets will create new flow entries in the table"}},
		verdict: confirmed,
		why:     "it may belong to a connection from before conntrack was on",
		ask: func(b *bench) fields {
			l := b.open(plain(), script...)
			l.inject(packet.ACKs(b.packets, web))
			t := l.tally()
			return fields{{"entries", t.Entries}, {"mangle", l.counts()[atMangle]}, {"state", l.states()}}
		},
		expect: func(q question) expectations {
			return expectations{{"entries", q.n}, {"mangle", q.n}, {"state", "ESTABLISHED"}}
		},
	},
	{
		id:      "loose-ack-full",
		claim:   "… and is dropped on a full table",
		article: fields{{says, "drop all the packets that create new flow, whether that's SYN or just stray ACK"}},
		verdict: confirmed,
		why:     "what needs an entry is dropped, whatever its flags",
		full:    true,
		ask:     func(b *bench) fields { return ackIntoFull(b, b.full(0, script...)) },
		expect:  nothingThrough,
	},
	{
		id:      "strict-ack",
		claim:   "strict: a stray ACK creates nothing and passes, as INVALID from mangle on",
		article: fields{{says, "the ACK packet will pass through it, having -ctstate INVALID from mangle table forward"}},
		verdict: confirmed,
		why:     "conntrack judges and drops nothing: rules have to",
		ask: func(b *bench) fields {
			atInvalid := rule{at: manglePrerouting, state: nf.StateInvalid}
			l := b.open(plain(), append(script[:len(script):len(script)], atInvalid)...)
			b.set(l, tcpLoose, "0")
			l.inject(packet.ACKs(b.packets, web))
			t, c := l.tally(), l.counts()
			return fields{
				{"entries", t.Entries}, {"raw", c[atRaw]}, {"mangle", c[atMangle]}, {"invalid", int(t.Invalid)},
				{"input", input(t)}, {"invalid_at_mangle", c[atInvalid]},
			}
		},
		expect: func(q question) expectations {
			return expectations{
				{"entries", 0}, {"raw", q.n}, {"mangle", q.n}, {"invalid", q.n}, {"input", q.n}, {"invalid_at_mangle", q.n},
			}
		},
	},
	{
		id:      "strict-ack-full",
		claim:   "… but is dropped on a full table, though it would create nothing",
		article: fields{{says, "due to twisted logic the ACK will be dropped on a full conntrack table"}},
		verdict: confirmed,
		why:     "an entry is allocated before the TCP tracker has a say",
		full:    true,
		ask: func(b *bench) fields {
			l := b.full(0, script...)
			b.set(l, tcpLoose, "0")
			return ackIntoFull(b, l)
		},
		expect: nothingThrough,
	},
	{
		id:      "strict-per-namespace",
		claim:   "nf_conntrack_tcp_loose cannot be set in a network namespace, although it should be",
		article: fields{{"writable", false}, {says, "this setting is not settable in the network namespace scope"}},
		verdict: changed,
		why:     "writable since 5.7 (d0febd81ae77), in namespaces owned by a user namespace, too",
		ask:     askWhoseMode,
		expect: func(q question) expectations {
			return expectations{{"writable", true}, {"others_unchanged", true}}
		},
	},
}

func ackIntoFull(b *bench, l *lab) fields {
	l.inject(packet.ACKs(b.packets, web))
	t, c := l.tally(), l.counts()
	return append(fields{
		{"entries", t.Entries}, {"raw", c[atRaw]}, {"mangle", c[atMangle]}, {"dropped", int(t.Dropped)},
	}, dice(t)...)
}

// nothingThrough is expected where no entry is free and none can be evicted.
func nothingThrough(q question) expectations {
	return expectations{{"entries", 0}, {"raw", q.n}, {"mangle", 0}, {"dropped", q.n}}
}

func askWhoseMode(b *bench) fields {
	ours, other := b.open(plain()), b.open(plain())
	values := func() []string {
		v, err := other.Env.Sysctl(tcpLoose)
		b.must(err)
		atHost, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(tcpLoose, ".", "/"))
		b.must(err)
		return []string{v, strings.TrimSpace(string(atHost))}
	}
	before := values()
	err := ours.Env.SetSysctl(tcpLoose, "0")
	if !errors.Is(err, fs.ErrPermission) {
		b.must(err)
	}
	after := values()
	now, err := ours.Env.Sysctl(tcpLoose)
	b.must(err)
	return fields{
		{"writable", now == "0"},
		{"others_unchanged", before[0] == after[0] && before[1] == after[1]},
	}
}
