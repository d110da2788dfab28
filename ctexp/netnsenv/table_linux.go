package netnsenv

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/ti-mo/conntrack"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// Table reads and writes the conntrack table of an Env as ctnetlink does, from any goroutine. The filler of a Room is
// no part of it: it is neither counted nor deleted, and its zone 65535 is refused.
type Table struct {
	env  *Env
	mu   sync.Mutex // conn answers one request at a time
	conn *conntrack.Conn
	nfnl *nfnl.Conn // for many requests in one send, for lists, and for what conn cannot
	age  *nfnl.Conn // of ours.AgePort
}

func openTable(e *Env) (*Table, error) {
	t := &Table{env: e}
	err := e.Do(func() (err error) {
		if t.conn, err = conntrack.Dial(nil); err != nil {
			return err
		}
		e.onClose(t.conn)
		if t.nfnl, err = nfnl.Dial(); err != nil {
			return err
		}
		e.onClose(t.nfnl)
		if t.age, err = nfnl.DialPort(ours.AgePort); err == nil {
			e.onClose(t.age)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open ctnetlink: %w", err)
	}
	// The first request loads what is a module and nobody has used yet; the sysctls come with it.
	if _, err := t.conn.Stats(); err != nil {
		return nil, &nf.UnsupportedError{Need: "CONFIG_NF_CT_NETLINK", Hint: "sudo modprobe nf_conntrack_netlink", Err: err}
	}
	return t, nil
}

// Count returns how many entries the table has. Those whose time is over still count until the kernel's garbage
// collector, a walk of the table or a packet meets them.
func (t *Table) Count() (int, error) {
	if t.env.room.Unreplied { // the kernel evicts the filler as well: only a look can tell
		entries, err := t.list(nf.Filter{})
		return len(entries), err
	}
	n, err := t.env.number("net/netfilter/nf_conntrack_count")
	return n - t.env.room.Filler, err
}

// Create inserts an entry. It needs both tuples and a timeout; a TCP entry takes its state, too. A zero status is
// CONFIRMED alone; others must contain it. On a full table the kernel says ENOMEM, for an entry that is there EEXIST.
func (t *Table) Create(e nf.Entry) error {
	if !e.Orig.Src.IsValid() || !e.Reply.Src.IsValid() || e.Timeout <= 0 {
		return fmt.Errorf("create entry %v: want both tuples and a timeout", e)
	}
	return t.one("create", e, t.conn.Create)
}

// Update changes the entry that has e's tuples and zone. What is zero in e stays as it is.
func (t *Table) Update(e nf.Entry) error {
	update := t.conn.Update
	if e.State != nf.TCPNone {
		// With the state ti-mo/conntrack v0.6.0 writes the window scales as well, zero if it was given none (attribute_types.go,
		// ProtoInfoTCP.marshal), and the kernel takes them (net/netfilter/nf_conntrack_proto_tcp.c, nlattr_to_tcp).
		update = func(conntrack.Flow) error { return t.nfnl.Do(nfnl.AppendUpdate(nil, e)) }
	}
	return t.one("update", e, update)
}

// Delete removes the entry that has e's tuple Orig, its zone and, unless it is zero, its id. Where there is none,
// the error is ENOENT.
func (t *Table) Delete(e nf.Entry) error {
	remove := t.conn.Delete
	if e.ID != 0 { // which ti-mo/conntrack v0.6.0 does not send (flow.go, Flow.marshal)
		remove = func(conntrack.Flow) error { return t.nfnl.Do(nfnl.AppendDelete(nil, e)) }
	}
	return t.one("delete", e, remove)
}

// one has a single request about e carried out. BenchmarkTableOneByOne compares the ways.
func (t *Table) one(what string, e nf.Entry, do func(conntrack.Flow) error) error {
	if err := spareZone(e); err != nil {
		return fmt.Errorf("%s %w", what, err)
	}
	if t.env.FD() < 0 {
		return ErrClosed
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := do(nfnl.Flow(e)); err != nil {
		return fmt.Errorf("%s entry %v: %w", what, e, err)
	}
	return nil
}

// bulkSize is how many entries are created or deleted by one send. More are hardly faster, and the events of so many fit
// into the receive buffer that an ordinary user gets by default.
const bulkSize = 128

// Flush deletes the entries that the filter selects, all of the experiment's if it is zero, and returns how many.
func (t *Table) Flush(ctx context.Context, f nf.Filter) (int, error) {
	return t.FlushWith(ctx, f, nil)
}

// FlushWith is Flush that calls pause, unless it is nil, after every 128 entries. An Observer's Drain as pause takes the DESTROY
// events out of its receive buffer meanwhile, so that they do not overrun it.
func (t *Table) FlushWith(ctx context.Context, f nf.Filter, pause func()) (int, error) {
	if err := spareFiller(f); err != nil {
		return 0, fmt.Errorf("flush: %w", err)
	}
	entries, err := t.list(f)
	if err != nil {
		return 0, fmt.Errorf("flush: %w", err)
	}
	n, err := t.inBulk(ctx, slices.Values(entries), bulk{bulkSize, pause, nfnl.AppendDelete, func(e nf.Entry, errno unix.Errno) error {
		if errno == unix.ENOENT {
			return nil // it has ended meanwhile
		}
		return fmt.Errorf("delete entry %v: %w", e, errno)
	}})
	if err != nil {
		return n, fmt.Errorf("flush: %d of %d entries deleted: %w", n, len(entries), err)
	}
	return n, nil
}

// CreateAll is Create of many entries, 400,000 in a second, and returns how many were created. It calls pause, unless it
// is nil, after every 128 of them. The first that the kernel refuses is named by the error and ends it; of the 127 behind
// it those that are not refused are created all the same.
func (t *Table) CreateAll(ctx context.Context, entries iter.Seq[nf.Entry], pause func()) (int, error) {
	var spared error
	allowed := func(yield func(nf.Entry) bool) {
		for e := range entries {
			if spared = spareZone(e); spared != nil || !yield(e) {
				return
			}
		}
	}
	n, err := t.inBulk(ctx, allowed, bulk{bulkSize, pause, nfnl.AppendCreate, func(e nf.Entry, errno unix.Errno) error {
		return fmt.Errorf("create entry %v: %w", e, errno)
	}})
	if err == nil {
		err = spared
	}
	if err != nil {
		return n, fmt.Errorf("%d entries created: %w", n, err)
	}
	return n, nil
}

// bulk says what is requested for many entries.
type bulk struct {
	size    int    // requests in one send
	pause   func() // called after each send, unless it is nil
	request func([]byte, nf.Entry) []byte
	refused func(nf.Entry, unix.Errno) error // called for an entry that the kernel refuses; an error ends it
}

// inBulk sends a request for each entry and returns how many were carried out.
func (t *Table) inBulk(ctx context.Context, entries iter.Seq[nf.Entry], b bulk) (n int, err error) {
	if t.env.FD() < 0 {
		return 0, ErrClosed
	}
	var batch nfnl.Batch
	var sent []nf.Entry
	flush := func() error {
		failed := 0
		err := t.nfnl.Send(&batch, func(i int, errno unix.Errno) error {
			failed++
			return b.refused(sent[i], errno)
		})
		n += len(sent) - failed
		batch.Reset()
		sent = sent[:0]
		if b.pause != nil {
			b.pause()
		}
		return err
	}
	for e := range entries {
		batch.Add(func(msg []byte) []byte { return b.request(msg, e) })
		if sent = append(sent, e); len(sent) < b.size {
			continue
		}
		if err := flush(); err != nil {
			return n, err
		}
		if err := ctx.Err(); err != nil {
			return n, context.Cause(ctx)
		}
	}
	if len(sent) > 0 {
		err = flush()
	}
	return n, err
}

// spareZone refuses an entry in the filler's zone.
func spareZone(e nf.Entry) error {
	if e.Zone == ours.FillerZone {
		return fmt.Errorf("entry %v: zone %d belongs to the filler", e, e.Zone)
	}
	return nil
}

// spareFiller refuses a filter that selects the filler.
func spareFiller(f nf.Filter) error {
	if f.Zone != nil && *f.Zone == ours.FillerZone {
		return fmt.Errorf("zone %d belongs to the filler", *f.Zone)
	}
	return nil
}

// list reads the entries that f selects.
func (t *Table) list(f nf.Filter) ([]nf.Entry, error) {
	if t.env.FD() < 0 {
		return nil, ErrClosed
	}
	var entries []nf.Entry
	err := t.nfnl.Dump(nfnl.DumpEntries(f, t.env.room.Filler > 0), func(body []byte, at int) error {
		e, err := nfnl.DecodeEntry(body, at)
		// The kernel's filter only saves time: old ones ignore parts of it.
		if err == nil && e.Zone != ours.FillerZone && f.Match(e) {
			entries = append(entries, e)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("dump the conntrack table: %w", err)
	}
	return entries, nil
}

// number reads a sysctl that is a number.
func (e *Env) number(key string) (int, error) {
	s, err := e.readFile("/proc/sys/" + key)
	if err != nil {
		return 0, sysctlError(strings.ReplaceAll(key, "/", "."), err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil {
		return 0, fmt.Errorf("sysctl %s: %w", strings.ReplaceAll(key, "/", "."), err)
	}
	return n, nil
}
