package observe

import (
	"cmp"
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
	told, unknown, err := addStats(conn, nfnl.DumpStats, s.statOf())
	if err != nil {
		return s, nil, err
	}
	s.NoChainTooLong = told>>statChainTooLong&1 == 0
	_, unknownExpect, err := addStats(conn, nfnl.DumpExpectStats, s.expectStatOf())
	return s, cmp.Or(unknown, unknownExpect), err
}

// addStats adds the statistics of all CPUs to counts. told has a bit for each attribute that the kernel reports.
func addStats(conn *nfnl.Conn, dump nfnl.Dump, counts []*uint64) (told uint64, unknown *nfnl.UnknownError, err error) {
	err = conn.Dump(dump, func(body []byte, at int) error {
		t, u, err := nfnl.AddStats(counts, body, at)
		told, unknown = told|t, cmp.Or(unknown, u)
		return err
	})
	if err != nil {
		return 0, nil, fmt.Errorf("read conntrack statistics: %w", err)
	}
	return told, unknown, nil
}
