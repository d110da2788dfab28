package main

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// dropRows are about what becomes of an entry when the packet that made it is dropped.
var dropRows = []row{
	{
		id:      "input-drop",
		claim:   "SYNs that are dropped in INPUT leave no entries",
		article: fields{{"entries", 0}, {says, "packets hitting -j DROP will not create new conntrack flows"}},
		verdict: confirmed,
		why:     "an entry enters the table with its packet's last hook; so it is for drops in mangle, forward and postrouting",
		ask:     askDrops,
		expect: func(q question) expectations {
			return expectations{
				{"entries", 0}, {"new_at_mangle", q.n}, {"input", q.n},
				{"entries_mangle", 0}, {"entries_forward", 0}, {"entries_postrouting", 0}, {"entries_forwarded", q.n},
			}
		},
	},
}

func askDrops(b *bench) fields {
	atNew := rule{at: manglePrerouting, state: nf.StateNew}
	l := b.open(plain(), atNew, rule{at: filterInput, then: drop})
	l.inject(packet.SYNs(b.packets, web))
	t := l.tally()
	got := fields{{"entries", t.Entries}, {"new_at_mangle", l.counts()[atNew]}, {"input", input(t)}}

	through := web
	through.Dst = netip.AddrPortFrom(netip.MustParseAddr("203.0.113.7"), 80)
	for _, c := range []struct {
		name string
		flow packet.Flow
		at   place
	}{
		{"entries_mangle", web, manglePrerouting},
		{"entries_forward", through, mangleForward},
		{"entries_postrouting", through, manglePost},
		{"entries_forwarded", through, place{}}, // to show that the others would have been forwarded
	} {
		cfg := plain()
		cfg.Sysctls["net.ipv4.ip_forward"] = "1"
		cfg.Sysctls["net.ipv4.conf.all.send_redirects"] = "0"
		cfg.Sysctls["net.ipv4.conf.tun0.send_redirects"] = "0"
		var rules []rule
		if c.at != (place{}) {
			rules = []rule{{at: c.at, then: drop}}
		}
		l := b.open(cfg, rules...)
		l.inject(packet.SYNs(b.packets, c.flow))
		got = append(got, field{c.name, l.tally().Entries})
	}
	return got
}

// reverseRows are about what the host's own answers do to the table.
var reverseRows = []row{
	{
		id:      "reverse-traffic",
		claim:   "without the script's DROP for the reverse direction the host's answers change the table",
		article: fields{{says, "make sure reverse traffic doesn't affect conntrack state"}},
		verdict: confirmed,
		why:     "the RST to a SYN that nobody waits for destroys the entry at once",
		ask: func(b *bench) fields {
			silent := b.open(plain(), script...)
			silent.inject(packet.SYNs(b.packets, web))
			answering := b.openConfirmed(atRaw, atMangle)
			answering.inject(packet.SYNs(b.packets, web))
			t := answering.tally()
			return fields{
				{"entries_with_drop", silent.tally().Entries}, {"entries_without", t.Entries},
				{"destroyed", int(t.Packets[nf.ConfirmedInput.Name]) - t.Entries},
			}
		},
		expect: func(q question) expectations {
			return expectations{{"entries_with_drop", q.n}, {"entries_without", 0}, {"destroyed", q.n}}
		},
	},
	{
		id:      "reverse-too-late",
		claim:   "… and a DROP before conntrack, in raw, prevents that",
		article: fields{{says, "iptables -t raw -A OUTPUT -p tcp --sport 80 -j DROP"}},
		verdict: refined,
		why:     "so it does, but it has to be raw: in the filter table's OUTPUT the DROP comes too late, behind conntrack",
		ask: func(b *bench) fields {
			late := noAnswers
			late.at = filterOutput
			var entries []int
			for _, r := range []rule{late, noAnswers} {
				l := b.open(plain(), atRaw, r)
				l.inject(packet.SYNs(b.packets, web))
				entries = append(entries, l.tally().Entries)
			}
			return fields{{"entries_filter_drop", entries[0]}, {"entries_raw_drop", entries[1]}}
		},
		expect: func(q question) expectations {
			return expectations{{"entries_filter_drop", 0}, {"entries_raw_drop", q.n}}
		},
	},
}

// openConfirmed opens a lab that also counts the packets behind the confirmation of their entries.
func (b *bench) openConfirmed(rules ...rule) *lab {
	cfg := plain()
	cfg.Probes = append(cfg.Probes, nf.ConfirmedInput)
	return b.open(cfg, rules...)
}

// floodRows are about a SYN flood at a port where somebody listens.
var floodRows = []row{
	{
		id:      "syn-flood",
		claim:   "{M} SYN+ACKs leave and {N-M} SYNs get nothing; SYN cookies do not help",
		article: fields{{"synacks", 7}, {"dropped", 3}, {says, "SYN flood mitigation technologies like SYN Cookies won't help"}},
		verdict: confirmed,
		why:     "three times, with tcp_syncookies 0, 1 and 2: a SYN that conntrack drops never meets them",
		full:    true,
		ask:     askFlood,
		expect: func(q question) expectations {
			return expectations{
				{"synacks", each{q.through()}}, {"entries", each{q.stay()}}, {"dropped", each{q.lost()}},
				{"evicted", atLeast(0)}, {"state", "SYN_RECV"},
			}
		},
	},
}

func askFlood(b *bench) fields {
	l := b.full(b.free, atRaw, atMangle)
	before := l.tally()
	flood := before.Sub(before)
	var synacks, entries, dropped []int
	state := ""
	const syncookies = "net.ipv4.tcp_syncookies"
	b.set(l, syncookies, "0")
	for cookies := range 3 {
		from := time.Now()
		l.Observer.Drain() // a frame that the kernel does not stamp yet counts as old as the last reading
		b.must(l.Env.SetSysctl(syncookies, strconv.Itoa(cookies)))
		listener := b.listen(l)
		l.inject(packet.SYNs(b.packets, web))
		t := l.tally().Sub(before)
		entries = append(entries, t.Entries)
		dropped = append(dropped, int(t.Dropped))
		state = both(state, l.states())
		synacks = append(synacks, len(l.synacks(from)))
		flood.Evicted += t.Evicted
		flood.Collected += t.Collected
		b.must(listener.Close())
		_, err := l.Env.Table().Flush(b.ctx, nf.Filter{})
		b.must(err)
		before = l.tally()
	}
	got := fields{{"synacks", synacks}, {"entries", entries}, {"dropped", dropped}}
	return append(append(got, dice(flood)...), field{"state", state})
}

// both joins two names that should be the same.
func both(a, b string) string {
	if a == "" || a == b {
		return b
	}
	return a + "," + b
}
