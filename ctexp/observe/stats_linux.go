package observe

import (
	"context"
	"fmt"

	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// Stats returns what the kernel's statistics of conntrack have counted since the Observer was opened. Where the kernel
// has a count that this package does not know, an error says so, beside those that are known.
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

// readKnownStats is readStats for those who need no others than the counts that are known.
func readKnownStats(conn *nfnl.Conn) (Stats, error) {
	s, _, err := readStats(conn)
	return s, err
}

// readStats reads the statistics of the namespace that conn belongs to; those of a namespace begin at zero. unknown is
// the first count that is not known.
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
