package netnsenv

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// Age makes the conntrack table older by d at once, as if nothing had happened for so long, and returns how many entries
// came to their end by it. All entries age, or those that one of the filters selects, and with an entry its
// expectations; the filler is spared. When Age returns, what is over is gone, and its DESTROY events have been sent:
//
//	env.Age(ctx, 121*time.Second) // no TIME_WAIT is left
//
// d is in whole seconds, as the kernel tells and takes times. Of an entry the kernel tells only the whole seconds that are
// left; Age counts the part of a second in its favour, so that one with 120 s is there after 119 and gone after 120.
//
// What Age cannot make older: entries with a fixed timeout (a status bit that the kernel lets nobody write to any more) and
// those in a flowtable, whose time is the flowtable's; the two seconds after which a UDP flow becomes a stream
// (net/netfilter/nf_conntrack_proto_udp.c, stream_ts); elements of nft sets; hashlimit, limit, recent and the other matches
// that keep time; timers of sockets, SYN cookies and timestamps; fragments that wait for the rest, 30 s; neighbours and
// routes.
func (e *Env) Age(ctx context.Context, d time.Duration, filters ...nf.Filter) (int, error) {
	return e.table.AgeWith(ctx, d, nil, nil, filters...)
}

// AgeWith is Env.Age with the help of an Observer. Unless it is nil, find looks for the entries that a filter selects, which
// by a dump takes 10 ms and beside a filler 60; those it finds need no more than their tuples, zone, status and timeout.
// Unless it is nil, pause is called after every 64 entries, for the reason of FlushWith.
func (t *Table) AgeWith(ctx context.Context, d time.Duration, find func(nf.Filter) ([]nf.Entry, error), pause func(), filters ...nf.Filter) (int, error) {
	switch {
	case d < 0:
		return 0, fmt.Errorf("age by %v: time does not run backwards", d)
	case d%time.Second != 0:
		return 0, fmt.Errorf("age by %v: want whole seconds, the kernel takes no others", d)
	}
	if len(filters) == 0 {
		filters = []nf.Filter{{}}
	}
	for _, f := range filters {
		if err := spareFiller(f); err != nil {
			return 0, fmt.Errorf("age by %v: %w", d, err)
		}
	}
	if find == nil {
		find = t.list
	}
	if t.env.FD() < 0 {
		return 0, fmt.Errorf("age by %v: %w", d, ErrClosed)
	}
	a := aging{table: t, by: d, pause: pause}
	err := nextJiffy(ctx)
	if err == nil {
		err = a.find(find, filters)
	}
	if err == nil && d > 0 { // the search alone destroys what is over already
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
	pause func()
	old   []nf.Entry // that are to be aged
	ended int
}

// find looks for the entries that one of the filters selects.
func (a *aging) find(find func(nf.Filter) ([]nf.Entry, error), filters []nf.Filter) error {
	type key struct {
		orig nf.Tuple
		zone uint16
	}
	seen := map[key]bool{}
	for _, f := range filters {
		entries, err := find(f)
		if err != nil {
			return err
		}
		for _, e := range entries {
			k := key{e.Orig, e.ZoneOf(nf.Original)}
			// For those in a flowtable the kernel does not even tell the time (nf_conntrack_netlink.c, ctnetlink_dump_info).
			if seen[k] || e.Status&(nf.FixedTimeout|nf.Offload) != 0 || e.Zone == ours.FillerZone {
				continue
			}
			seen[k] = true
			a.old = append(a.old, e)
		}
	}
	return nil
}

// nextJiffy waits until the kernel's clock for timeouts has moved on, 10 ms at most: what began before has less than its
// whole time left from then on, so that to add a second to what the kernel tells is never one too many.
func nextJiffy(ctx context.Context) error {
	jiffy := func() (t unix.Timespec, err error) {
		err = unix.ClockGettime(unix.CLOCK_MONOTONIC_COARSE, &t) // it moves with the jiffies
		return t, os.NewSyscallError("clock_gettime", err)
	}
	began, err := jiffy()
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
		if now, err := jiffy(); err != nil || now != began {
			return err
		}
	}
}

// left is what is left of a time that the kernel tells, cut to whole seconds.
func (a *aging) left(told time.Duration) time.Duration { return max(0, told+time.Second-a.by) }

// entries writes the times. What is over stays in the table until something meets it, so it is looked up at once.
func (a *aging) entries(ctx context.Context) error {
	for some := range slices.Chunk(a.old, bulkSize/2) {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := a.some(some); err != nil {
			return err
		}
		if a.pause != nil {
			a.pause()
		}
	}
	return nil
}

func (a *aging) some(entries []nf.Entry) error {
	var batch nfnl.Batch
	var asked []question
	ask := func(q question, write func([]byte) []byte) {
		asked = append(asked, q)
		batch.Add(write)
	}
	for i, e := range entries {
		left := a.left(e.Timeout)
		ask(question{entry: i}, func(b []byte) []byte { return nfnl.AppendTimeout(b, e, left) })
		if left == 0 {
			ask(question{entry: i, isOver: true}, func(b []byte) []byte { return nfnl.AppendGet(b, e) })
		}
	}
	gone := -1 // the last one that has left by itself
	return a.table.age.Send(&batch, func(i int, errno unix.Errno) error {
		q := asked[i]
		switch {
		case errno == unix.ENOENT && q.isOver:
			if q.entry != gone {
				a.ended++
			}
			return nil
		case errno == unix.ENOENT, errno == unix.ETIME: // it has left meanwhile, or is about to
			gone = q.entry
			return nil
		}
		return fmt.Errorf("entry %v: %w", entries[q.entry], errno)
	})
}

// question is what a request of a batch asks: to write the time of an entry, or whether it is over.
type question struct {
	entry  int
	isOver bool
}

// expectations ages those of the entries that are aged. Their time is a timer's, which cannot be waited for: what is over is
// deleted.
func (a *aging) expectations(ctx context.Context) error {
	if len(a.old) == 0 {
		return nil
	}
	masters := map[nf.Tuple]bool{}
	for _, e := range a.old {
		masters[e.Orig] = true
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
