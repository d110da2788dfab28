package netnsenv

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ours"
	"github.com/ctexp/go-ctexp/internal/patience"
)

// Sysctls that a Room uses. It only reads them, except that it turns off events while it fills the table.
const (
	keyMax    = "net/netfilter/nf_conntrack_max"
	keyCount  = "net/netfilter/nf_conntrack_count"
	keyEvents = "net/netfilter/nf_conntrack_events"
)

// fill fills the table up to the Room of the Config.
func (e *Env) fill(ctx context.Context) error {
	e.room.Free = -1
	limit, err := e.number(keyMax)
	if err != nil {
		if !e.cfg.Room.set {
			return nil // conntrack may be a module that is not loaded
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
		return &nf.UnsupportedError{Need: "a limit", Hint: "sudo sysctl -w net.netfilter.nf_conntrack_max=262144: zero means no limit, so that the table is never full"}
	case n < 0:
		return fmt.Errorf("room for %d entries: want at most %d, the host's net.netfilter.nf_conntrack_max", e.cfg.Room.free, limit)
	case n > fillBudget:
		return &nf.UnsupportedError{
			Need: "a smaller table",
			Hint: fmt.Sprintf("filling it takes %d entries, more than the limit of %d; sudo sysctl -w net.netfilter.nf_conntrack_max=262144", n, fillBudget),
		}
	}
	if err := e.addFiller(ctx, n); err != nil {
		return fmt.Errorf("fill the table up to %d of %d: %w", n, limit, err)
	}
	e.room = RoomInfo{Limit: limit, Filler: n, Free: e.cfg.Room.free, Unreplied: e.cfg.Room.unreplied}
	return e.checkRoom(n, limit)
}

// checkRoom checks the table after it has been filled: another process may have changed the limit.
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
		return fmt.Errorf("fill the table: nf_conntrack_max changed from %d to %d meanwhile", limit, now)
	}
	if count != filler {
		return fmt.Errorf("fill the table: %w: %d of %d entries", ErrNotFull, count, filler)
	}
	return nil
}

// unfill deletes the filler. The kernel would also delete it with the namespace, but one entry at a time and possibly
// after the next table is filled. All namespaces share one hash table, which cannot hold many full conntrack tables at
// once.
func (e *Env) unfill() error {
	if err := e.writeSysctl(keyEvents, "0"); err != nil {
		return err
	}
	return e.table.nfnl.Do(nfnl.AppendFlush(nil, nil))
}

// filling serializes the fillers of all Envs. The kernel takes a global lock for each entry (net/netfilter/nfnetlink.c,
// nfnl_lock), so that concurrent fillers would sleep at each one, until the deadline of each is over.
var filling patience.Turns

// addFiller inserts n entries into an empty table.
func (e *Env) addFiller(ctx context.Context, n int) error {
	e.filler = newFiller(e.cfg.Room.unreplied)
	return e.insertFiller(ctx, n, n, func() { e.onClose(closerFunc(e.unfill)) }) // also after an error
}

// Refill makes the table as it was after Open: it deletes what is not the filler of Config.Room, and replaces filler that the
// kernel has evicted or collected, or a program deleted. With a table of 262,144 entries it takes a fifth of the time of Open. So
// one Env, whose table is filled once, serves many experiments with Watch of package ctexp, each with an Observer of its own:
// call Refill while none is open.
//
// It changes nothing but the table. What else packets have left in the host is there for the next experiment: fragments that wait for
// others, exceptions to routes (of ICMP redirects and "fragmentation needed"), neighbours, how many ICMP errors the host may
// send for now, states of rules (sets, limits, counters), and packets that a queue holds. Experiments that depend on such must
// open an Env each.
//
// The filler is known to be whole by the number of entries. So filler that a program has deleted is not missed if there are as many
// entries with nf.FixedTimeout in its place, which only Table creates.
//
// The error matches ErrNotFull if entries are left, such as those of packets that are held, or the garbage collector evicts
// filler at the moment, and if the limit has changed. Refill waits for its turn if other Envs fill their tables.
func (e *Env) Refill(ctx context.Context) error {
	if _, err := e.table.flushEach(ctx, nf.Filter{}); err != nil {
		return fmt.Errorf("refill: %w", err)
	}
	count, err := e.number(keyCount)
	if err == nil && count > e.room.Filler { // a list leaves out entries with a fixed timeout, as the filler has, to save time
		if _, err = e.table.flushEach(ctx, nf.Filter{Status: nf.FixedTimeout, StatusMask: nf.FixedTimeout}); err == nil {
			count, err = e.number(keyCount)
		}
	}
	if err != nil {
		return fmt.Errorf("refill: %w", err)
	}
	if missing := e.room.Filler - count; missing > 0 {
		if err := e.insertFiller(ctx, e.room.Filler, missing, func() {}); err != nil {
			return fmt.Errorf("refill: %w", err)
		}
	}
	if err := e.checkRoom(e.room.Filler, e.room.Limit); err != nil {
		return fmt.Errorf("refill: %w", err)
	}
	return nil
}

// insertFiller inserts entries, of which so many are missing, up to n. It calls begun before the first. Events are off meanwhile,
// so that the entries never cause events. That is also faster.
func (e *Env) insertFiller(ctx context.Context, n, missing int, begun func()) error {
	done, err := filling.Take(ctx, "fill the table")
	if err != nil {
		return err
	}
	defer done()
	defer patience.Doing(ctx, fmt.Sprintf("filling the table with %d entries", missing))()
	events, err := e.readFile("/proc/sys/" + keyEvents)
	if err != nil {
		return err
	}
	if err := e.writeSysctl(keyEvents, "0"); err != nil {
		return err
	}
	begun()
	return errors.Join(e.fillUp(ctx, n, missing), e.writeSysctl(keyEvents, events))
}

// fillUp inserts the entries that are missing up to n, and replaces those that the garbage collector evicts meanwhile. It evicts unreplied entries
// for some time after a full table in any namespace has dropped a packet.
func (e *Env) fillUp(ctx context.Context, n, missing int) error {
	const rounds = 20 // more than enough for one scan of the collector
	for i := 0; missing > 0 && i < rounds; i++ {
		inserted, err := e.table.inBulk(ctx, e.filler.entries(missing), bulk{fillerBatch, nfnl.AppendCreate, fillerError})
		if err != nil {
			return fmt.Errorf("%d entries inserted: %w", inserted, err)
		}
		count, err := e.number(keyCount)
		if err != nil {
			return err
		}
		missing = n - count
	}
	return nil
}

const (
	fillerBatch   = 512   // entries in a batch: 128 take 7 % longer, 1024 are not faster
	fillerPorts   = 64000 // entries per source address
	fillerTimeout = 5 * 24 * time.Hour
)

// filler generates the entries that fill a table.
type filler struct {
	entry nf.Entry
	next  int // number of the next entry
}

// newFiller returns a filler of established and assured entries, which neither early_drop nor the garbage collector
// evicts, or of unreplied entries.
func newFiller(unreplied bool) *filler {
	e := nf.Entry{
		Status: nf.Confirmed | nf.SeenReply | nf.Assured | nf.FixedTimeout, State: nf.Established,
		Timeout: fillerTimeout, Zone: ours.FillerZone,
	}
	if unreplied {
		e.Status, e.State = nf.Confirmed|nf.FixedTimeout, nf.SynSent
	}
	e.Orig = nf.Tuple{Proto: nf.TCP, Dst: netip.MustParseAddrPort("192.0.2.1:80")}
	e.Reply = e.Orig.Reverse()
	return &filler{entry: e}
}

// entries yields n entries that differ from each other and from those of earlier calls.
func (f *filler) entries(n int) iter.Seq[nf.Entry] {
	return func(yield func(nf.Entry) bool) {
		for range n {
			host, port := f.next/fillerPorts, uint16(f.next%fillerPorts+1)
			f.next++
			f.entry.Orig.Src = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 99, byte(host >> 8), byte(host)}), port)
			f.entry.Reply.Dst = f.entry.Orig.Src
			if !yield(f.entry) {
				return
			}
		}
	}
}

// fillerError explains why the kernel rejected an entry of the filler.
func fillerError(_ nf.Entry, err unix.Errno) error {
	switch err {
	case unix.ENOMEM:
		return fmt.Errorf("the table is already full: nf_conntrack_max was lowered: %w", err)
	case unix.ENOSPC: // nf_conntrack_core.c, nf_conntrack_hash_check_insert: chains of more than 50 to 80 entries
		return fmt.Errorf("too many full tables at once: the chains of the hash that all namespaces share are too long: %w", err)
	}
	return err
}
