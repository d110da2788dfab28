package netnsenv

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ours"
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
	filling.Lock()
	defer filling.Unlock()
	e.onClose(closerFunc(e.unfill)) // also if not all of it fits
	return errors.Join(e.fillUp(ctx, n), e.writeSysctl(keyEvents, events))
}

// fillUp inserts n entries, and those again that the garbage collector takes meanwhile: it may be at work because a full
// table somewhere on the host has dropped a packet, and takes what was never answered.
func (e *Env) fillUp(ctx context.Context, n int) error {
	f := newFiller(e.cfg.Room.unreplied)
	const rounds = 20 // one scan of the collector's is over long before
	for missing, i := n, 0; missing > 0 && i < rounds; i++ {
		inserted, err := e.table.inBulk(ctx, f.entries(missing), bulk{fillerBatch, nil, nfnl.AppendCreate, fillerError})
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
	fillerBatch   = 512   // entries in one send: 128 take 7 % longer, 1024 are not faster
	fillerPorts   = 64000 // entries for each address
	fillerTimeout = 5 * 24 * time.Hour
)

// filler makes the entries that fill a table.
type filler struct {
	entry nf.Entry
	next  int // number of the next one
}

// newFiller makes entries that are established and assured, so that neither early_drop nor the garbage collector touches
// them, or never answered.
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

// entries yields n entries that differ from each other, and from those of an earlier call.
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

// fillerError says why the kernel refuses an entry of the filler.
func fillerError(_ nf.Entry, err unix.Errno) error {
	switch err {
	case unix.ENOMEM:
		return fmt.Errorf("the table is full already: somebody lowered nf_conntrack_max: %w", err)
	case unix.ENOSPC: // nf_conntrack_core.c, nf_conntrack_hash_check_insert: chains of more than 50 to 80 entries
		return fmt.Errorf("the hash that all namespaces share has chains that are too long: too many full tables at once: %w", err)
	}
	return err
}
