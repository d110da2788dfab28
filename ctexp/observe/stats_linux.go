package observe

import (
	"context"
	"fmt"

	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// Stats returns what the kernel's statistics of conntrack counted since the Observer was opened. If the kernel has a
// counter that this package does not know, it returns an error together with the known counts.
func (o *Observer) Stats(ctx context.Context) (Stats, error) {
	s, err := o.stats(ctx)
	if err != nil {
		err = fmt.Errorf("stats: %w", err)
	}
	return s, err
}

func (o *Observer) stats(ctx context.Context) (Stats, error) {
	release, err := o.use(ctx)
	if err != nil {
		return Stats{}, err
	}
	defer release()
	now, unknown, err := readStats(o.table)
	if err != nil {
		return Stats{}, err
	}
	s := now.Sub(o.start.stats)
	if unknown != nil {
		return s, unknown
	}
	return s, nil
}

// readKnownStats does the same as readStats, but ignores unknown counters.
func readKnownStats(conn *nfnl.Conn) (Stats, error) {
	s, _, err := readStats(conn)
	return s, err
}

// readStats reads the statistics of the namespace of conn, which are zero in a new namespace. unknown is the first
// counter that this package does not know.
func readStats(conn *nfnl.Conn) (s Stats, unknown *nfnl.UnknownError, err error) {
	for _, of := range []struct {
		dump   nfnl.Dump
		counts []*uint64
	}{{nfnl.DumpStats, s.statOf()}, {nfnl.DumpExpectStats, s.expectStatOf()}} {
		err := conn.Dump(of.dump, func(body []byte, at int) error {
			u, err := nfnl.AddStats(of.counts, body, at)
			if unknown == nil {
				unknown = u
			}
			return err
		})
		if err != nil {
			return s, nil, fmt.Errorf("read conntrack statistics: %w", err)
		}
	}
	return s, unknown, nil
}
