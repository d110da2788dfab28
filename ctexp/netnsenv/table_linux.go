package netnsenv

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/ti-mo/conntrack"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ctnl"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// Table reads and writes the conntrack table of an Env as ctnetlink does, from any goroutine. The filler of a Room is
// no part of it: it is neither counted nor deleted, and its zone 65535 is refused.
type Table struct {
	env  *Env
	mu   sync.Mutex // a connection answers one question at a time
	conn *conntrack.Conn
	bulk *ctnl.Conn // for many requests in one send
}

func openTable(e *Env) (*Table, error) {
	t := &Table{env: e}
	err := e.Do(func() (err error) {
		if t.conn, err = conntrack.Dial(nil); err != nil {
			return err
		}
		e.onClose(t.conn)
		if t.bulk, err = ctnl.DialPort(ours.TablePort); err == nil {
			e.onClose(t.bulk)
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
	return t.request("create", e, ctnl.AppendCreate)
}

// Update changes the entry that has e's tuples, zone and, unless it is zero, id. What is zero in e stays as it is.
func (t *Table) Update(e nf.Entry) error {
	return t.write("update", e, func() error {
		t.mu.Lock()
		defer t.mu.Unlock()
		return t.conn.Update(ctnl.Flow(e))
	})
}

// Delete removes the entry that has e's tuple Orig, its zone and, unless it is zero, its id. Where there is none,
// the error is ENOENT.
func (t *Table) Delete(e nf.Entry) error { return t.request("delete", e, ctnl.AppendDelete) }

// request sends a request of ours about e.
func (t *Table) request(what string, e nf.Entry, request func([]byte, nf.Entry) []byte) error {
	return t.write(what, e, func() error {
		var b ctnl.Batch
		b.Add(func(b []byte) []byte { return request(b, e) })
		return t.bulk.Send(&b, func(_ int, errno unix.Errno) error { return errno })
	})
}

func (t *Table) write(what string, e nf.Entry, do func() error) error {
	if e.Zone == ours.FillerZone {
		return fmt.Errorf("%s entry %v: zone %d belongs to the filler", what, e, e.Zone)
	}
	if t.env.FD() < 0 {
		return ErrClosed
	}
	if err := do(); err != nil {
		return fmt.Errorf("%s entry %v: %w", what, e, err)
	}
	return nil
}

// spareFiller refuses a filter that selects what nobody may touch.
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
	err := t.bulk.Dump(ctnl.DumpEntries(f, t.env.room.Filler > 0), func(body []byte, at int) error {
		e, err := ctnl.DecodeEntry(body, at)
		// The kernel's filter is a saving only: old ones ignore parts of it.
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
