package netnsenv

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ctnl"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// bulkSize is how many entries are created or deleted by one send. More are hardly faster, and the events of so many fit
// into the receive buffer that an ordinary user gets by default.
const bulkSize = 128

// Flush deletes the entries that the filter selects, all of the experiment's if it is zero, and returns how many.
func (t *Table) Flush(ctx context.Context, f nf.Filter) (int, error) {
	return t.FlushWith(ctx, f, nil)
}

// FlushWith is Flush that calls pause, unless it is nil, after every 128 entries: who hears the DESTROY events, such as an
// Observer by its Drain, can take them meanwhile, lest they overrun its buffer.
func (t *Table) FlushWith(ctx context.Context, f nf.Filter, pause func()) (int, error) {
	if err := spareFiller(f); err != nil {
		return 0, fmt.Errorf("flush: %w", err)
	}
	entries, err := t.list(f)
	if err != nil {
		return 0, fmt.Errorf("flush: %w", err)
	}
	n, err := t.inBulk(ctx, slices.Values(entries), pause, ctnl.AppendDelete, func(e nf.Entry, errno unix.Errno) error {
		if errno == unix.ENOENT {
			return nil // gone by itself meanwhile: no news
		}
		return fmt.Errorf("delete entry %v: %w", e, errno)
	})
	if err != nil {
		return n, fmt.Errorf("flush: %d of %d entries deleted: %w", n, len(entries), err)
	}
	return n, nil
}

// CreateAll is Create of many entries, 400,000 in a second, and returns how many were created. It calls pause, unless it
// is nil, after every 128 of them. The first that the kernel refuses is named by the error and ends it; of the 127 behind
// it those that are not refused are created all the same.
func (t *Table) CreateAll(ctx context.Context, entries iter.Seq[nf.Entry], pause func()) (int, error) {
	n, err := t.inBulk(ctx, entries, pause, ctnl.AppendCreate, func(e nf.Entry, errno unix.Errno) error {
		return fmt.Errorf("create entry %v: %w", e, errno)
	})
	if err != nil {
		return n, fmt.Errorf("%d entries created: %w", n, err)
	}
	return n, nil
}

// inBulk sends a request for each entry and returns how many were done.
func (t *Table) inBulk(ctx context.Context, entries iter.Seq[nf.Entry], pause func(), request func([]byte, nf.Entry) []byte, refused func(nf.Entry, unix.Errno) error) (n int, err error) {
	if t.env.FD() < 0 {
		return 0, ErrClosed
	}
	var batch ctnl.Batch
	var sent []nf.Entry
	flush := func() error {
		failed := 0
		err := t.bulk.Send(&batch, func(i int, errno unix.Errno) error {
			failed++
			return refused(sent[i], errno)
		})
		n += len(sent) - failed
		batch.Reset()
		sent = sent[:0]
		if pause != nil {
			pause()
		}
		return err
	}
	for e := range entries {
		if e.Zone == ours.FillerZone {
			return n, fmt.Errorf("entry %v: zone %d belongs to the filler", e, e.Zone)
		}
		batch.Add(func(b []byte) []byte { return request(b, e) })
		if sent = append(sent, e); len(sent) < bulkSize {
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
