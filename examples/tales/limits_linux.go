package main

import (
	"os"
	"strconv"

	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// edgesOfTheLimit is asked by the root of a virtual machine: it writes the limit, which is the whole machine's, and
// puts it back.
func edgesOfTheLimit(b *bench) fields {
	const limit = "/proc/sys/net/netfilter/nf_conntrack_max"
	set := func(n int) error { return os.WriteFile(limit, []byte(strconv.Itoa(n)), 0) }
	before, err := hostLimit()
	b.must(err)
	b.atEnd(func() error { return set(before) })

	cfg := plain()
	cfg.Silent = true
	l := b.open(cfg)
	bounded := b.open(cfg)
	zero := set(0)
	l.inject(packet.SYNs(b.packets, web))
	got := fields{{"zero_means_none", zero == nil && l.tally().Entries == b.packets}}
	if zero != nil {
		got = append(got, field{"zero_refused", true}) // since 6.19 (2b749f257645)
	}

	b.must(set(before))
	l = bounded
	l.fill(2 * b.packets) // assured: a flow of which only the SYN is known might be evicted by chance
	b.must(set(b.packets))
	l.inject(packet.SYNs(b.packets, web))
	t := l.tally()
	return append(got, field{"dropped_below_count", int(t.Dropped)}, field{"evicted", int(t.Evicted + t.Collected)},
		field{"entries_below_count", t.Entries})
}
