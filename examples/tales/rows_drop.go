package main

import (
	"net/netip"

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
