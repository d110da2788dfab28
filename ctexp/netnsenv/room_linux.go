package netnsenv

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Keys of the sysctls that a Room reads and, for the events, sets for a moment.
const (
	keyMax    = "net/netfilter/nf_conntrack_max"
	keyCount  = "net/netfilter/nf_conntrack_count"
	keyEvents = "net/netfilter/nf_conntrack_events"
)

// fill leaves the room that the Config asks for.
func (e *Env) fill(ctx context.Context) error {
	e.room.Free = -1
	limit, err := e.number(keyMax)
	if err != nil {
		if !e.cfg.Room.set {
			return nil // conntrack may be a module that nobody needs here
		}
		return err
	}
	e.room.Limit = limit
	if !e.cfg.Room.set {
		return nil
	}
	n := limit - e.cfg.Room.free
	switch {
	case limit == 0:
		return &nf.UnsupportedError{Need: "a limit", Hint: "sudo sysctl -w net.netfilter.nf_conntrack_max=262144: zero means none, and nothing fills up"}
	case n < 0:
		return fmt.Errorf("room for %d entries: the kernel's limit is %d", e.cfg.Room.free, limit)
	case n > fillBudget:
		return &nf.UnsupportedError{
			Need: "a smaller table",
			Hint: fmt.Sprintf("to fill it would take %d entries, more than the %d that are reasonable; sudo sysctl -w net.netfilter.nf_conntrack_max=262144", n, fillBudget),
		}
	}
	if err := e.addFiller(ctx, n); err != nil {
		return fmt.Errorf("fill the table up to %d of %d: %w", n, limit, err)
	}
	e.room = RoomInfo{Limit: limit, Filler: n, Free: e.cfg.Room.free, Unreplied: e.cfg.Room.unreplied}
	return e.checkRoom(n, limit)
}

// checkRoom looks again after the table has been filled: others may write the limit.
func (e *Env) checkRoom(filler, limit int) error {
	count, err := e.number(keyCount)
	if err != nil {
		return err
	}
	now, err := e.number(keyMax)
	if err != nil {
		return err
	}
	if now != limit {
		return fmt.Errorf("fill the table: somebody changed nf_conntrack_max from %d to %d meanwhile", limit, now)
	}
	if count != filler {
		return fmt.Errorf("fill the table: %w: %d entries are there after %d were inserted", ErrNotFull, count, filler)
	}
	return nil
}

// unfill gives the filler back. The kernel would do it as well, when it takes the namespace apart, but one at a time and
// later than the next table is filled: many full tables at once are more than the hash that they share can take.
func (e *Env) unfill() error {
	if err := e.writeSysctl(keyEvents, "0"); err != nil {
		return err
	}
	e.table.mu.Lock()
	defer e.table.mu.Unlock()
	return e.table.conn.Flush()
}

// filling lets one Env at a time insert its filler: the kernel takes a lock of all namespaces for each entry
// (net/netfilter/nfnetlink.c, nfnl_lock), and who has to share that sleeps at every one.
var filling sync.Mutex

// addFiller inserts n entries without events, so that they never have any: it is faster, and nobody is told of them.
func (e *Env) addFiller(ctx context.Context, n int) error {
	events, err := e.readFile("/proc/sys/" + keyEvents)
	if err != nil {
		return err
	}
	if err := e.writeSysctl(keyEvents, "0"); err != nil {
		return err
	}
	f, err := openFiller(e, e.cfg.Room.unreplied)
	if err == nil {
		filling.Lock()
		defer filling.Unlock()
		e.onClose(closerFunc(e.unfill)) // also if not all of it fits
		err = errors.Join(e.fillUp(ctx, f, n), f.close())
	}
	return errors.Join(err, e.writeSysctl(keyEvents, events))
}

// fillUp inserts n entries, and those again that the garbage collector takes meanwhile: it may be at work because a full
// table somewhere on the host has dropped a packet, and takes what was never answered.
func (e *Env) fillUp(ctx context.Context, f *filler, n int) error {
	const rounds = 20 // one scan of the collector's is over long before
	for missing, i := n, 0; missing > 0 && i < rounds; i++ {
		if err := f.fill(ctx, missing); err != nil {
			return err
		}
		count, err := e.number(keyCount)
		if err != nil {
			return err
		}
		missing = n - count
	}
	return nil
}
