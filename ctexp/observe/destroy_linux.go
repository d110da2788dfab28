package observe

import (
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ctnl"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// destroyWatch counts the entries that left the table unasked, by their DESTROY events.
type destroyWatch struct {
	*pump
	count   atomic.Uint64
	table   *ctnl.Conn
	pending []nf.Entry // of fate replacedOr, under pump.mu
}

// maxPending bounds what waits to be settled.
const maxPending = 1024

// eventBuffer holds the events of a good 10,000 entries where the host's rmem_max allows it.
const eventBuffer = 8 << 20

// watchDestroyed must be called on a thread in the namespace.
func watchDestroyed(table *ctnl.Conn) (*destroyWatch, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open socket for conntrack events: %w", err)
	}
	if err := subscribe(fd); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("subscribe to conntrack events: %w", err)
	}
	w := &destroyWatch{table: table}
	if w.pump, err = startPump(fd, "conntrack events", w.read); err != nil {
		return nil, err
	}
	return w, nil
}

func subscribe(fd int) error {
	// What was deleted by netlink has the port of who asked for it in the header, what ended otherwise has 0.
	filter, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 12, Size: 4}, // nlmsg_pid
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipFalse: 1},
		bpf.RetConstant{Val: 0xffffffff},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		return err
	}
	program := make([]unix.SockFilter, len(filter))
	for i, ins := range filter {
		program[i] = unix.SockFilter{Code: ins.Op, Jt: ins.Jt, Jf: ins.Jf, K: ins.K}
	}
	return errors.Join(
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}),
		enlarge(fd, eventBuffer),
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, unix.NFNLGRP_CONNTRACK_DESTROY),
	)
}

// read counts what is queued.
func (w *destroyWatch) read(fd int, _ bool) error {
	b := batches.Get().(*batch)
	defer batches.Put(b)
	for {
		n, err := b.receive(fd)
		switch {
		case err == unix.EAGAIN:
			return nil
		case err == unix.ENOBUFS:
			return fmt.Errorf("%w: the receive buffer was full (net.core.rmem_max bounds it)", ErrEventsLost)
		case err != nil:
			return fmt.Errorf("receive conntrack events: %w", err)
		}
		for i := range n {
			if err := w.one(b.payload(i)); err != nil {
				return err
			}
		}
	}
}

func (w *destroyWatch) one(msg []byte) error {
	d, ok, err := decodeDestroyed(msg)
	if err != nil {
		return err
	}
	if !ok || d.zone == ours.FillerZone {
		return nil
	}
	switch d.fate() {
	case unasked:
		w.count.Add(1)
	case replacedOr:
		gone, err := decodeEntry(msg)
		if err != nil {
			return err
		}
		w.pending = append(w.pending, gone)
		if len(w.pending) > maxPending {
			return w.settlePending()
		}
	}
	return nil
}

// settle decides about entries of which the event alone does not tell. It is for when the packets are through: the
// entry that replaces another is in the table only when its packet was confirmed, a while after the event.
func (w *destroyWatch) settle() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.settlePending()
}

func (w *destroyWatch) settlePending() error {
	for _, gone := range w.pending {
		replaced, err := w.replaced(gone)
		if err != nil {
			return err
		}
		if !replaced {
			w.count.Add(1)
		}
	}
	w.pending = w.pending[:0]
	return nil
}

// replaced reports whether another entry has one of the tuples of the one that is gone.
func (w *destroyWatch) replaced(gone nf.Entry) (bool, error) {
	for _, tuple := range []nf.Tuple{gone.Orig, gone.Reply} {
		_, err := w.table.Get(tuple, gone.Zone)
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return false, nil
}

func decodeEntry(msg []byte) (nf.Entry, error) {
	msgs, err := ctnl.Split(msg)
	if err != nil {
		return nf.Entry{}, err
	}
	return ctnl.Decode(msgs[0])
}
