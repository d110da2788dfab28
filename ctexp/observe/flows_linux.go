package observe

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"os"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// Flows returns the entries of the table that f selects, in the order of their original tuples, as they were when the
// iteration began. The filler is never among them; where there is one, entries that somebody made with FIXED_TIMEOUT
// are found only by a filter that asks for this bit or for a zone, because the kernel leaves both out.
//
// Where all entries are known from their events and are few, they are asked for one by one, 10 µs each. Else the kernel
// walks the table of the whole host, 10 ms for 262,144 buckets and 60 with a filler, during which ctx is not looked at; it
// selects by family, mark, status (since 5.15) and zone (since 6.8), and the rest is compared here. Either way entries
// whose time is over are destroyed by looking for them.
//
// What an entry has that this package does not know, as on later kernels, is left out; the last error says so.
func (o *Observer) Flows(ctx context.Context, f nf.Filter) iter.Seq2[nf.Entry, error] {
	return listOf(o, ctx, "flows", func() ([]nf.Entry, *nfnl.UnknownError, error) {
		found, err := o.find(ctx, f)
		return found.entries, found.unknown, err
	})
}

// listOf yields what read returns, and then what was unknown in it.
func listOf[T any](o *Observer, ctx context.Context, what string, read func() ([]T, *nfnl.UnknownError, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		list, unknown, err := read()
		if err != nil {
			yield(none, fmt.Errorf("%s: %w", what, err))
			return
		}
		for _, v := range list {
			if err := o.goOn(ctx); err != nil {
				yield(none, fmt.Errorf("%s: %w", what, err))
				return
			}
			if !yield(v, nil) {
				return
			}
		}
		if unknown != nil {
			yield(none, fmt.Errorf("%s: %w", what, unknown))
		}
	}
}

// found is a list of entries, and the first thing in them that is unknown.
type found struct {
	entries []nf.Entry
	unknown *nfnl.UnknownError
}

func (l *found) add(e nf.Entry, unknown *nfnl.UnknownError) {
	l.entries = append(l.entries, e)
	l.unknown = cmp.Or(l.unknown, unknown)
}

// flows returns the entries that f selects, in order.
func (o *Observer) flows(ctx context.Context, f nf.Filter) ([]nf.Entry, error) {
	l, err := o.find(ctx, f)
	return l.entries, err
}

func (o *Observer) find(ctx context.Context, f nf.Filter) (found, error) {
	release, err := o.use(ctx)
	if err != nil {
		return found{}, err
	}
	defer release()
	l, ok, err := o.findByEvents(f)
	if err == nil && !ok {
		l, err = o.dump(f)
	}
	if err != nil {
		return found{}, err
	}
	slices.SortFunc(l.entries, byTuple)
	return l, nil
}

// dump returns the entries that f selects, without the filler, in the order of the kernel's hash.
func (o *Observer) dump(f nf.Filter) (l found, err error) {
	if f.Zone != nil && *f.Zone == ours.FillerZone {
		return l, nil
	}
	err = o.table.Dump(nfnl.DumpEntries(f, o.cfg.Filler > 0), func(body []byte, at int) error {
		e, unknown, err := nfnl.DecodeWhole(body, at)
		if err == nil && e.Zone != ours.FillerZone && f.Match(e) {
			l.add(e, unknown)
		}
		return err
	})
	if err != nil {
		return found{}, fmt.Errorf("dump conntrack table: %w", err)
	}
	return l, nil
}

// goOn returns why an iteration must end, if it must.
func (o *Observer) goOn(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.closed {
		return fmt.Errorf("observer: %w", os.ErrClosed)
	}
	return nil
}
