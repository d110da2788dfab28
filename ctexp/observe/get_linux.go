package observe

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// Get returns the entry that has t as its original or its reply tuple and belongs, in that direction, to a zone: 10 µs.
// Where there is none, errors.Is(err, fs.ErrNotExist) holds for the error. An entry whose time is over is not found, and
// is destroyed by looking for it.
func (o *Observer) Get(ctx context.Context, t nf.Tuple, zone uint16) (nf.Entry, error) {
	e, err := o.get(ctx, t, zone)
	if err != nil {
		return nf.Entry{}, fmt.Errorf("observer: %w", err)
	}
	return e, nil
}

func (o *Observer) get(ctx context.Context, t nf.Tuple, zone uint16) (nf.Entry, error) {
	release, err := o.use(ctx)
	if err != nil {
		return nf.Entry{}, err
	}
	defer release()
	if zone == ours.FillerZone {
		return nf.Entry{}, fmt.Errorf("get entry %v %v of the filler's zone %d: %w", t.Proto, t, zone, fs.ErrNotExist)
	}
	e, unknown, err := o.table.GetWhole(t, zone)
	if err == nil && unknown != nil {
		err = unknown
	}
	return e, err
}

// Count returns how many entries the table has, without the filler: the kernel's own count, which has those whose time
// is over, too, until something meets them, and those that are not confirmed yet.
func (o *Observer) Count(ctx context.Context) (int, error) {
	n, err := o.countNow(ctx)
	if err != nil {
		return 0, fmt.Errorf("count entries: %w", err)
	}
	return n, nil
}

func (o *Observer) countNow(ctx context.Context) (int, error) {
	release, err := o.use(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	n, err := o.countEntries()
	if !o.cfg.Unreplied { // of such a filler, countEntries counts none
		n -= o.cfg.Filler
	}
	return n, err
}
