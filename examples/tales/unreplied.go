package main

import (
	"errors"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// mostFillings bounds how often the table is filled again where the garbage collector has emptied it.
const mostFillings = 4

// fillUnreplied is the half of flood-filled with entries that were never answered. The garbage collector takes those
// away, up to a minute after a new flow was dropped anywhere on the host: so it is asked before all other rows, and
// again where the collector came first.
func fillUnreplied(b *bench) fields {
	for range mostFillings {
		if got, ok := floodUnreplied(b); ok {
			return got
		}
		b.note("the garbage collector had emptied the table, so it was filled again")
	}
	b.must(&nf.UnsupportedError{
		Need: "a table that stays full",
		Hint: "the garbage collector empties it: something else on this host overflows conntrack tables; ask again when it has ended",
	})
	return nil
}

// floodUnreplied fills a table and sends the SYNs. It reports false where the table was not full then.
func floodUnreplied(b *bench) (got fields, ok bool) {
	cfg := plain()
	cfg.Room = netnsenv.Free(0).Unreplied()
	l, err := b.tryOpen(cfg, script...)
	if errors.Is(err, netnsenv.ErrNotFull) {
		return nil, false
	}
	b.must(err)
	defer l.Close() // its memory is not small
	l.inject(packet.SYNs(b.packets, web))
	t := l.tally()
	// In a full table each of them has either found nothing to evict, or evicted at least one entry.
	if int(t.Evicted+t.Dropped) < b.packets {
		return nil, false
	}
	return fields{{"mangle", l.counts()[atMangle]}, {"dropped", int(t.Dropped)}, {"evicted", int(t.Evicted)}}, true
}
