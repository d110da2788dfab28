package observe

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"os"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ctnl"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// Flows returns the entries of the table that f selects, in the order of their original tuples, as they were when the
// iteration began. The filler is never among them; where there is one, entries that somebody made with FIXED_TIMEOUT
// are found only by a filter that asks for this bit or for a zone, because the kernel leaves both out.
//
// The kernel selects by family, mark, status (since 5.15) and zone (since 6.8); the rest is compared here. It walks
// the table of the whole host for it, 10 ms for 262,144 buckets, during which ctx is not looked at.
func (o *Observer) Flows(ctx context.Context, f nf.Filter) iter.Seq2[nf.Entry, error] {
	return func(yield func(nf.Entry, error) bool) {
		entries, err := o.flows(ctx, f)
		if err != nil {
			yield(nf.Entry{}, fmt.Errorf("flows: %w", err))
			return
		}
		for _, e := range entries {
			if err := o.goOn(ctx); err != nil {
				yield(nf.Entry{}, fmt.Errorf("flows: %w", err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (o *Observer) flows(ctx context.Context, f nf.Filter) ([]nf.Entry, error) {
	release, err := o.use(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	entries, err := o.dump(f)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(entries, byTuple)
	return entries, nil
}

// dump returns the entries that f selects, without the filler, in the order of the kernel's hash.
func (o *Observer) dump(f nf.Filter) ([]nf.Entry, error) {
	if f.Zone != nil && *f.Zone == ours.FillerZone {
		return nil, nil
	}
	flows, err := o.ct.DumpFilter(ctnl.Filter(f, o.cfg.Filler > 0), nil)
	if err != nil {
		return nil, fmt.Errorf("dump conntrack table: %w", err)
	}
	var entries []nf.Entry
	for _, flow := range flows {
		if e := ctnl.Entry(flow); e.Zone != ours.FillerZone && f.Match(e) {
			entries = append(entries, e)
		}
	}
	return entries, nil
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

func byTuple(a, b nf.Entry) int {
	return cmp.Or(
		cmp.Compare(a.Orig.Proto, b.Orig.Proto),
		a.Orig.Src.Compare(b.Orig.Src),
		a.Orig.Dst.Compare(b.Orig.Dst),
		cmp.Compare(a.Orig.ICMP.Type, b.Orig.ICMP.Type),
		cmp.Compare(a.Orig.ICMP.Code, b.Orig.ICMP.Code),
		cmp.Compare(a.Orig.ICMP.ID, b.Orig.ICMP.ID),
		cmp.Compare(a.Zone, b.Zone),
		cmp.Compare(a.ID, b.ID),
	)
}
