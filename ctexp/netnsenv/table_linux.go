package netnsenv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/ti-mo/conntrack"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/kernel"
	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// Table reads and writes the conntrack table of an Env through ctnetlink. It is safe for concurrent use. The filler of
// a Room is not part of it: it is neither counted nor deleted, and entries of its zone 65535 are rejected.
//
// Create, Update and Delete go through ti-mo/conntrack, except for requests that it cannot express. CreateAll, Flush
// and Age send many requests in one system call and do not wait for each acknowledgement, which ti-mo/conntrack cannot
// do: BenchmarkTableOneByOne and BenchmarkTableInBulk compare the two.
type Table struct {
	*tableConns
	watcher Watcher
}

// tableConns are the connections that a Table and its copies share.
type tableConns struct {
	env  *Env
	mu   sync.Mutex      // held while conn is in use: it handles one request at a time
	conn *conntrack.Conn // nil before dial
	nfnl *nfnl.Conn      // for batches, dumps, and requests that conn cannot express
	age  *nfnl.Conn      // has the port ours.AgePort

	lists *nfnl.Lists
}

func openTable(e *Env) (*Table, error) {
	t := &Table{tableConns: &tableConns{env: e, lists: nfnl.NewLists(e.do)}}
	e.onClose(t.lists)
	err := e.do(func() (err error) {
		if t.nfnl, err = nfnl.Dial(); err != nil {
			return err
		}
		e.onClose(t.nfnl)
		if t.age, err = nfnl.DialPort(ours.AgePort); err == nil {
			e.onClose(t.age)
		}
		return err
	})
	if err == nil { // the first request loads the module if necessary, and with it the sysctls
		err = t.nfnl.Do(nfnl.AppendCount(nil))
	}
	if err != nil {
		return nil, fmt.Errorf("open ctnetlink: %w", lackIf(err, ctnetlinkLack, noSubsystem...))
	}
	return t, nil
}

var ctnetlinkLack = nf.UnsupportedError{Need: "CONFIG_NF_CT_NETLINK", Hint: "sudo modprobe nf_conntrack_netlink"}

// WatchedBy returns the same table for a caller whose events w reads: its CreateAll, Flush and Age use w.
func (t *Table) WatchedBy(w Watcher) *Table { return &Table{t.tableConns, w} }

// dial opens conn, on a thread of its own: it must not wait for a function in Do.
func (t *Table) dial() error {
	if t.conn != nil {
		return nil
	}
	return t.env.thread.Aside(func() (err error) {
		if t.conn, err = conntrack.Dial(nil); err == nil {
			t.env.onClose(t.conn)
		}
		return err
	})
}

// Count returns the number of entries. Expired entries are included until the garbage collector, a dump or a packet
// removes them.
func (t *Table) Count() (int, error) {
	if t.env.room.Unreplied { // the kernel may have evicted some of the filler, so that its size is unknown
		n := 0
		for _, err := range t.list(nf.Filter{}) {
			if err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	}
	n, err := t.env.number("net/netfilter/nf_conntrack_count")
	return n - t.env.room.Filler, err
}

// Create creates an entry. It needs both tuples and a timeout; a TCP entry may have a state. A zero status means
// CONFIRMED; any other status must contain it. The error is ENOMEM if the table is full and EEXIST if the entry exists.
func (t *Table) Create(e nf.Entry) error {
	if !e.Orig.Src.IsValid() || !e.Reply.Src.IsValid() || e.Timeout <= 0 {
		return fmt.Errorf("create entry %v: want both tuples and a timeout", e)
	}
	return t.one("create", e, (*conntrack.Conn).Create)
}

// Update changes the entry with e's tuples and zone. Zero fields of e are left unchanged; without any other, it is an error.
func (t *Table) Update(e nf.Entry) error {
	if same := (nf.Entry{Orig: e.Orig, Reply: e.Reply, Zone: e.Zone, ZoneDir: e.ZoneDir, ID: e.ID}); e == same {
		return fmt.Errorf("update entry %v: there is nothing to change: all fields but those that name it are zero", e)
	}
	update := (*conntrack.Conn).Update
	if e.State != nf.TCPNone {
		// With the state, ti-mo/conntrack v0.6.0 also sends the window scales, even if they are not set
		// (attribute_types.go, ProtoInfoTCP.marshal), and the kernel sets them to zero
		// (net/netfilter/nf_conntrack_proto_tcp.c, nlattr_to_tcp).
		update = func(*conntrack.Conn, conntrack.Flow) error { return t.nfnl.Do(nfnl.AppendUpdate(nil, e)) }
	}
	return t.one("update", e, update)
}

// Delete deletes the entry with e's original tuple, zone and, unless zero, ID. If there is none, the error is ENOENT.
func (t *Table) Delete(e nf.Entry) error {
	remove := (*conntrack.Conn).Delete
	if e.ID != 0 { // ti-mo/conntrack v0.6.0 does not send the ID (flow.go, Flow.marshal)
		remove = func(*conntrack.Conn, conntrack.Flow) error { return t.nfnl.Do(nfnl.AppendDelete(nil, e)) }
	}
	return t.one("delete", e, remove)
}

// one sends a single request about e by do.
func (t *Table) one(what string, e nf.Entry, do func(*conntrack.Conn, conntrack.Flow) error) error {
	if err := spareZone(e); err != nil {
		return fmt.Errorf("%s %w", what, err)
	}
	if t.env.FD() < 0 {
		return ErrClosed
	}
	t.env.watch.acted.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.dial(); err != nil {
		return fmt.Errorf("%s entry %v: open ctnetlink: %w", what, e, err)
	}
	if err := do(t.conn, nfnl.Flow(e)); err != nil {
		return fmt.Errorf("%s entry %v: %w", what, e, err)
	}
	return nil
}

// bulkSize is the number of requests in a batch. Larger batches are hardly faster, and the events of this many fit into
// the default receive buffer of an unprivileged user.
const bulkSize = 128

// Flush deletes the entries that f selects and returns their number, which includes those that have timed out but are still
// there. The zero Filter selects all entries of the experiment. They are deleted by one request if f selects nothing but a zone
// and the Watcher's receive buffer has room for their events.
func (t *Table) Flush(ctx context.Context, f nf.Filter) (int, error) {
	if err := spareFiller(f); err != nil {
		return 0, fmt.Errorf("flush: %w", err)
	}
	if t.env.FD() < 0 {
		return 0, fmt.Errorf("flush: %w", ErrClosed)
	}
	n, done, err := t.flushFew(ctx, f)
	if err == nil && !done {
		var more int
		more, done, err = t.flushAtOnce(f)
		n += more
	}
	if err == nil && !done {
		more, failed := t.flushEach(ctx, f)
		n, err = n+more, failed
	}
	if err != nil {
		return n, fmt.Errorf("flush: %d entries deleted: %w", n, err)
	}
	return n, nil
}

// flushFew deletes the entries of a tuple, and others that a Watcher may find without a list of the whole table. done is false
// if it cannot.
func (t *Table) flushFew(ctx context.Context, f nf.Filter) (n int, done bool, err error) {
	if f.Tuple == (nf.Tuple{}) {
		few, err := t.mayBeKnown()
		if err != nil || !few {
			return 0, false, err
		}
	}
	var entries []nf.Entry
	for e, err := range t.find(f) { // all of them first: a Watcher counts them
		if err != nil {
			return 0, false, nil // another way may be able to
		}
		entries = append(entries, e)
	}
	n, err = t.deleteAll(ctx, slices.Values(entries))
	return n, true, err
}

// mayBeKnown reports whether the entries are so few that a Watcher may know them all. To find and delete a few one by one takes
// 10 µs each. One request for all walks the hash of all namespaces, and waits for others that do, as the kernel does for each
// namespace that ends (net/netfilter/nf_conntrack_core.c, nf_ct_iterate_cleanup).
func (t *Table) mayBeKnown() (bool, error) {
	if t.env.room.Unreplied || t.watcher.Entries == nil {
		return false, nil
	}
	const known = 500 // that an Observer asks for one by one
	n, err := t.Count()
	return n <= known, err
}

// find yields the entries that f selects, by the Watcher if there is one.
func (t *Table) find(f nf.Filter) iter.Seq2[nf.Entry, error] {
	switch {
	case t.watcher.Entries != nil:
		return t.watcher.Entries(f)
	case f.Tuple != (nf.Tuple{}) && f.Zone != nil:
		return t.ofTuple(f)
	}
	return t.list(f)
}

// ofTuple yields the entries that have a tuple and belong to a zone: of those that have a zone in one direction only, the other
// tuple is in zone 0.
func (t *Table) ofTuple(f nf.Filter) iter.Seq2[nf.Entry, error] {
	return func(yield func(nf.Entry, error) bool) {
		for _, zone := range slices.Compact([]uint16{*f.Zone, 0}) {
			e, err := t.nfnl.Get(f.Tuple, zone)
			switch {
			case errors.Is(err, fs.ErrNotExist):
			case err != nil:
				yield(e, err)
				return
			case f.Match(e) && !yield(e, nil):
				return
			}
		}
	}
}

// flushAtOnce deletes the entries that f selects by one request. done is false if some may be left.
func (t *Table) flushAtOnce(f nf.Filter) (n int, done bool, err error) {
	zone := f.Zone
	if f.Zone = nil; f != (nf.Filter{}) || t.env.room.Unreplied { // such a filler may have lost entries
		return 0, false, nil
	}
	if zone == nil && t.env.room.Filler > 0 {
		zone = nf.InZone(0) // most likely all of the experiment are
	}
	before, err := t.Count()
	if err != nil || before == 0 {
		return 0, err == nil, err
	}
	if zone != nil && !kernel.ZoneFilters.Here() || t.watcher.Drain != nil && before > bulkSize {
		return 0, false, nil
	}
	if err := t.nfnl.Do(nfnl.AppendFlush(nil, zone)); err != nil {
		return 0, false, err
	}
	t.drain()
	after, err := t.Count()
	return max(0, before-after), after == 0, err
}

// flushEach deletes the entries that f selects one by one, while the kernel lists them.
func (t *Table) flushEach(ctx context.Context, f nf.Filter) (int, error) {
	var listed error
	n, err := t.deleteAll(ctx, func(yield func(nf.Entry) bool) {
		for e, err := range t.list(f) {
			if listed = err; err != nil || !yield(e) {
				return
			}
		}
	})
	if err == nil {
		err = listed
	}
	return n, err
}

func (t *Table) deleteAll(ctx context.Context, entries iter.Seq[nf.Entry]) (int, error) {
	return t.inBulk(ctx, entries, bulk{bulkSize, nfnl.AppendDelete, func(e nf.Entry, errno unix.Errno) error {
		if errno == unix.ENOENT {
			return nil // it has expired, or was listed twice: deleting lets the kernel begin a bucket of its hash again
		}
		return fmt.Errorf("delete entry %v: %w", e, errno)
	}})
}

// CreateAll creates many entries, about 400,000 per second, and returns the number created. It ends at the first entry
// that the kernel rejects, which the error names. Up to 127 entries behind that one may still have been created.
func (t *Table) CreateAll(ctx context.Context, entries iter.Seq[nf.Entry]) (int, error) {
	var spared error
	allowed := func(yield func(nf.Entry) bool) {
		for e := range entries {
			if spared = spareZone(e); spared != nil || !yield(e) {
				return
			}
		}
	}
	t.env.watch.acted.Add(1)
	n, err := t.inBulk(ctx, allowed, bulk{bulkSize, nfnl.AppendCreate, func(e nf.Entry, errno unix.Errno) error {
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

// bulk describes one kind of request for many entries.
type bulk struct {
	size    int                              // requests in a batch
	request func([]byte, nf.Entry) []byte    // appends the request for an entry
	refused func(nf.Entry, unix.Errno) error // called for each entry that the kernel rejects; an error ends the operation
}

// inBulk sends a request for each entry and returns the number of those that succeeded.
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
		t.drain()
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

// drain lets the Watcher read the events of a batch.
func (t *Table) drain() {
	if t.watcher.Drain != nil {
		t.watcher.Drain()
	}
}

// spareZone returns an error for an entry in the filler's zone.
func spareZone(e nf.Entry) error {
	if e.Zone == ours.FillerZone {
		return fmt.Errorf("entry %v: zone %d belongs to the filler", e, e.Zone)
	}
	return nil
}

// spareFiller returns an error for a filter that selects the filler, or is wrong.
func spareFiller(f nf.Filter) error {
	if err := f.Check(); err != nil {
		return err
	}
	if f.Zone != nil && *f.Zone == ours.FillerZone {
		return fmt.Errorf("zone %d belongs to the filler", *f.Zone)
	}
	return nil
}

// list yields the entries that f selects while the kernel lists them.
func (t *Table) list(f nf.Filter) iter.Seq2[nf.Entry, error] {
	return func(yield func(nf.Entry, error) bool) {
		var e nf.Entry
		stopped := errors.New("no more is wanted")
		err := t.lists.Walk(nfnl.DumpEntries(f, t.env.room.Filler > 0), func(body []byte, at int) error {
			_, err := nfnl.DecodeInto(&e, body, at)
			// The kernel's filter only saves time: old kernels ignore parts of it.
			if err == nil && e.Zone != ours.FillerZone && f.Match(e) && !yield(e, nil) {
				return stopped
			}
			return err
		}, func() error { return nil })
		if err != nil && err != stopped {
			yield(nf.Entry{}, fmt.Errorf("dump the conntrack table: %w", err))
		}
	}
}

// number reads a numeric sysctl.
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

// begin puts entries into the table, and then expectations, whose masters must be among them.
func (t *Table) begin(ctx context.Context, entries []nf.Entry, expectations []nf.Expectation) error {
	if n, err := t.CreateAll(ctx, slices.Values(entries)); err != nil {
		return fmt.Errorf("%d of %d entries created: %w", n, len(entries), helperLack(entries, err))
	}
	for _, x := range expectations {
		if err := t.expect(x); err != nil {
			return fmt.Errorf("create expectation %v: %w", x, helperLack(entries, err))
		}
	}
	return nil
}

// helperLack returns an nf.UnsupportedError if err is how the kernel refuses what needs the helper of one of the entries
// (net/netfilter/nf_conntrack_netlink.c, ctnetlink_create_conntrack and ctnetlink_create_expect).
func helperLack(entries []nf.Entry, err error) error {
	i := slices.IndexFunc(entries, func(e nf.Entry) bool { return e.Helper != "" })
	if i < 0 || !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	of := entries[i]
	return Helper{Name: of.Helper, Proto: of.Orig.Proto, Family: of.Orig.Family()}.unknown(err)
}

// expect creates an expectation.
func (t *Table) expect(x nf.Expectation) error {
	t.env.watch.acted.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.nfnl.Do(nfnl.AppendExpect(nil, x))
}
