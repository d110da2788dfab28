package main

import (
	"strconv"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

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
