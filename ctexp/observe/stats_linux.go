package observe

import (
	"fmt"

	"github.com/ti-mo/conntrack"
)

// stats are the statistics of conntrack that a Tally needs, of all CPUs together.
type stats struct {
	dropped, evicted, invalid, insertFailed, icmpErrors uint64
}

// readStats reads the statistics of the namespace that conn belongs to; those of a namespace begin at zero.
func readStats(conn *conntrack.Conn) (stats, error) {
	cpus, err := conn.Stats()
	if err != nil {
		return stats{}, fmt.Errorf("read conntrack statistics: %w", err)
	}
	var s stats
	for _, c := range cpus {
		s.dropped += uint64(c.Drop)
		s.evicted += uint64(c.EarlyDrop)
		s.invalid += uint64(c.Invalid)
		s.insertFailed += uint64(c.InsertFailed)
		s.icmpErrors += uint64(c.Error)
	}
	return s, nil
}

func (s stats) sub(before stats) stats {
	return stats{
		dropped:      monus(s.dropped, before.dropped),
		evicted:      monus(s.evicted, before.evicted),
		invalid:      monus(s.invalid, before.invalid),
		insertFailed: monus(s.insertFailed, before.insertFailed),
		icmpErrors:   monus(s.icmpErrors, before.icmpErrors),
	}
}
