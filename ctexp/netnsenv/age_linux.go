package netnsenv

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/jiffies"
	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// Age makes the conntrack table older by d, as if no packet had arrived for that time, and returns the number of
// entries that expired by it. It ages all entries, or those that one of the filters selects, and the expectations of
// these entries, but not the filler. When Age returns, expired entries have been destroyed and their DESTROY events
// sent:
//
//	env.Age(ctx, 121*time.Second) // no TIME_WAIT is left
//
// A filter that selects none of the entries that Age could make older is an error, ErrNoEntry, and nothing is aged: the number of
// expired entries, which is 0 in many uses that are right, would not tell. No filter, and the zero Filter, may meet an empty table.
//
// d must be in whole seconds, the unit of timeouts in ctnetlink. The kernel reports timeouts rounded down. Age assumes
// the full second, so that an entry with 120 s left still exists after Age by 119 s and is gone after Age by 120 s.
//
// Age does not affect entries with a fixed timeout, which the kernel does not allow to be changed, entries in a
// flowtable, which has its own timeout, the two seconds after which a UDP flow becomes a stream
// (net/netfilter/nf_conntrack_proto_udp.c, stream_ts), elements of nft sets, matches that keep time such as hashlimit,
// limit and recent, timers of sockets, SYN cookies and timestamps, incomplete fragments (30 s), neighbours, and routes.
func (e *Env) Age(ctx context.Context, d time.Duration, filters ...nf.Filter) (int, error) {
	return e.table.Age(ctx, d, filters...)
}

// Age is Env.Age.
func (t *Table) Age(ctx context.Context, d time.Duration, filters ...nf.Filter) (int, error) {
	switch {
	case d < 0:
		return 0, fmt.Errorf("age by %v: want 0 or more", d)
	case d%time.Second != 0:
		return 0, fmt.Errorf("age by %v: want whole seconds, the unit of the kernel's timeouts", d)
	}
	if len(filters) == 0 {
		filters = []nf.Filter{{}}
	}
	for _, f := range filters {
		if err := spareFiller(f); err != nil {
			return 0, fmt.Errorf("age by %v: %w", d, err)
		}
	}
	if t.env.FD() < 0 {
		return 0, fmt.Errorf("age by %v: %w", d, ErrClosed)
	}
	a := aging{table: t, by: d}
	err := nextJiffy(ctx)
	if err == nil {
		err = a.find(filters)
	}
	if err == nil && d > 0 { // with d = 0, the dump alone destroys expired entries
		err = a.expectations(ctx)
	}
	if err == nil && d > 0 {
		err = a.entries(ctx)
	}
	if err != nil {
		return a.ended, fmt.Errorf("age by %v: %w", d, err)
	}
	return a.ended, nil
}

// aging is one call of Age.
type aging struct {
	table *Table
	by    time.Duration
	old   []aged // the entries to age
	ended int    // entries that expired
}

// aged is what Age needs of an entry.
type aged struct {
	orig    nf.Tuple
	zone    uint16
	zoneDir nf.Direction
	timeout time.Duration // as the kernel reported it
}

// entry returns an entry for a request.
func (a aged) entry() nf.Entry { return nf.Entry{Orig: a.orig, Zone: a.zone, ZoneDir: a.zoneDir} }

// find reads the entries that one of the filters selects. They are aged only when all are known: a list in which an entry
// expires may have others twice, which would be aged twice (net/netfilter/nf_conntrack_netlink.c, ctnetlink_dump_table, begins
// a bucket of the hash again if the entry where it stopped is gone).
func (a *aging) find(filters []nf.Filter) error {
	type key struct {
		orig nf.Tuple
		zone uint16
	}
	seen := map[key]bool{}
	for i, f := range filters {
		fixed, aging := 0, 0
		for e, err := range a.table.find(f) {
			if err != nil {
				return err
			}
			switch {
			case e.Zone == ours.FillerZone:
			case e.Status&(nf.FixedTimeout|nf.Offload) != 0:
				fixed++
			default:
				aging++
			}
			k := key{e.Orig, e.ZoneOf(nf.Original)}
			// The kernel does not report the timeout of an entry in a flowtable (nf_conntrack_netlink.c,
			// ctnetlink_dump_info).
			if seen[k] || e.Status&(nf.FixedTimeout|nf.Offload) != 0 || e.Zone == ours.FillerZone {
				continue
			}
			seen[k] = true
			a.old = append(a.old, aged{e.Orig, e.Zone, e.ZoneDir, e.Timeout})
		}
		if aging == 0 && f != (nf.Filter{}) {
			if err := a.table.noEntry(f, fixed); err != nil {
				return fmt.Errorf("filter %d: %w", i+1, err)
			}
		}
	}
	return nil
}

// noEntry returns an ErrNoEntry about a filter that selects only so many entries, whose timeouts cannot be changed, unless it has
// selected another earlier.
func (t *Table) noEntry(f nf.Filter, fixed int) error {
	switch {
	case fixed > 0:
		return fmt.Errorf("%w but %d with a fixed timeout or in a flowtable, which do not age", ErrNoEntry, fixed)
	case t.watcher.Had == nil:
		return ErrNoEntry
	}
	if why := t.watcher.Had(f); why != nil {
		return fmt.Errorf("%w: %w", ErrNoEntry, why)
	}
	return nil
}

// nextJiffy waits until the kernel's clock for timeouts has advanced, at most 10 ms. After that, any entry created
// before has less than its full timeout left, so that adding a second to the reported timeout never exceeds the full
// timeout.
func nextJiffy(ctx context.Context) error {
	began, err := jiffies.Now()
	if err != nil {
		return err
	}
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if now, err := jiffies.Now(); err != nil || now != began {
			return err
		}
	}
}

// Given calls send, which sends a packet, and then get, which reads what is left of the timeout of the packet's entry, rounded
// down to whole seconds as the kernel reports it. It returns the timeout that the entry had when send had returned, to the
// second and however long get takes: the kernel's clock tells how much of it is over. It takes two to three jiffies, 20 ms
// at most. If send takes longer than almost a second, the timeout cannot be told, which is an error.
func (t *Table) Given(ctx context.Context, send func() error, get func() (time.Duration, error)) (time.Duration, error) {
	size, err := jiffies.Size()
	if err != nil {
		return 0, err
	}
	began, err := jiffies.Now()
	if err == nil {
		err = send()
	}
	if err != nil {
		return 0, err
	}
	sent, err := jiffies.Now()
	if err != nil {
		return 0, err
	}
	if sent-began > time.Second-4*size {
		return 0, fmt.Errorf("the timeout is not known to the second: the packet took %v", sent-began)
	}
	for {
		for now := sent; now-sent < 2*size; {
			if err := nextJiffy(ctx); err != nil {
				return 0, err
			}
			if now, err = jiffies.Now(); err != nil {
				return 0, err
			}
		}
		before, err := jiffies.Now()
		if err != nil {
			return 0, err
		}
		left, err := get()
		if err != nil {
			return 0, err
		}
		after, err := jiffies.Now()
		if err != nil {
			return 0, err
		}
		if given, ok := onlySecond(left+before-sent-size, left+time.Second+after-began+size); ok {
			return given, nil
		}
	}
}

// onlySecond returns the only number of whole seconds that is more than low and less than high. ok is false if there is not
// exactly one.
func onlySecond(low, high time.Duration) (s time.Duration, ok bool) {
	s = low.Truncate(time.Second) + time.Second
	return s, s < high && s+time.Second >= high
}

// left returns the new timeout for one that the kernel reported, rounded down to whole seconds.
func (a *aging) left(reported time.Duration) time.Duration {
	return max(0, reported+time.Second-a.by)
}

// entries sets the timeouts. An expired entry would stay in the table until something finds it, so it is looked up.
func (a *aging) entries(ctx context.Context) error {
	for some := range slices.Chunk(a.old, bulkSize/2) {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := a.some(some); err != nil {
			return err
		}
		a.table.drain()
	}
	return nil
}

func (a *aging) some(entries []aged) error {
	type request struct {
		entry int
		isGet bool // looks up an expired entry; false: sets the timeout
	}
	var batch nfnl.Batch
	var sent []request
	add := func(r request, write func([]byte) []byte) {
		sent = append(sent, r)
		batch.Add(write)
	}
	for i, e := range entries {
		left := a.left(e.timeout)
		add(request{entry: i}, func(b []byte) []byte { return nfnl.AppendTimeout(b, e.entry(), left) })
		if left == 0 {
			add(request{entry: i, isGet: true}, func(b []byte) []byte { return nfnl.AppendGet(b, e.entry()) })
		}
	}
	gone := -1 // the last entry that expired without Age
	return a.table.age.Send(&batch, func(i int, errno unix.Errno) error {
		r := sent[i]
		switch {
		case errno == unix.ENOENT && r.isGet:
			if r.entry != gone {
				a.ended++
			}
			return nil
		case errno == unix.ENOENT, errno == unix.ETIME: // it has expired, or is about to
			gone = r.entry
			return nil
		}
		return fmt.Errorf("entry %v: %w", entries[r.entry].orig, errno)
	})
}

// expectations ages the expectations of the entries. Their timeouts are timers, which cannot be waited for, so that
// expired ones are deleted.
func (a *aging) expectations(ctx context.Context) error {
	if len(a.old) == 0 {
		return nil
	}
	masters := map[nf.Tuple]bool{}
	for _, e := range a.old {
		masters[e.orig] = true
	}
	var list []nf.Expectation
	err := a.table.nfnl.Dump(nfnl.DumpExpect, func(body []byte, at int) error {
		x, err := nfnl.DecodeExpectation(body, at)
		if err == nil && masters[x.Master] && x.Zone != ours.FillerZone {
			list = append(list, x)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("dump the expectations: %w", err)
	}
	for some := range slices.Chunk(list, bulkSize) {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		var batch nfnl.Batch
		for _, x := range some {
			left := a.left(x.Timeout)
			batch.Add(func(b []byte) []byte {
				if left == 0 {
					return nfnl.AppendExpectDelete(b, x)
				}
				return nfnl.AppendExpectTimeout(b, x, left)
			})
		}
		if err := a.table.age.Send(&batch, func(i int, errno unix.Errno) error {
			if errno == unix.ENOENT || errno == unix.ETIME {
				return nil
			}
			return fmt.Errorf("expectation %v: %w", some[i], errno)
		}); err != nil {
			return err
		}
	}
	return nil
}
