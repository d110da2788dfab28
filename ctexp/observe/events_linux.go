package observe

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// Events returns what happened to the conntrack table since the Observer was opened until the iteration begins, flows
// and expectations, in the kernel's order. After an Inject that is all that its packets have done. The filler has no
// events.
//
// Where events are missing, an EventLost stands in their place, the last one followed by what the table has now, and the
// iteration ends in ErrEventsLost: the receive buffer was full (call Drain while sending, or ask for a larger
// EventBuffer), or MaxEvents was reached. An attribute that this package does not know, as later kernels may add, is passed
// over; it is the error at the end. With Config.NoEvents, and in a namespace where
// net.netfilter.nf_conntrack_events was 0, the error is an nf.UnsupportedError.
func (o *Observer) Events(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		var d eventDecoder
		pieces, lost, err := o.recorded(ctx)
		if err == nil {
			err = o.replay(ctx, pieces, &d, yield)
		}
		if err == nil {
			err = d.err()
		}
		if err != errBroken && lost != (lostEvents{}) {
			err = errors.Join(fmt.Errorf("%w: %v", ErrEventsLost, lost), err)
		}
		if err != nil && err != errBroken {
			yield(Event{}, fmt.Errorf("events: %w", err))
		}
	}
}

// errBroken says that the one who iterates wants no more.
var errBroken = errors.New("broken off")

func (o *Observer) recorded(ctx context.Context) ([]eventPiece, lostEvents, error) {
	release, err := o.use(ctx)
	if err != nil {
		return nil, lostEvents{}, err
	}
	defer release()
	if err := o.events.missing; err != nil {
		return nil, lostEvents{}, err
	}
	if err := o.events.Drain(); err != nil {
		return nil, lostEvents{}, err
	}
	pieces, lost := o.events.log.snapshot()
	return pieces, lost, nil
}

// replay yields events. Where several gaps are, the table of now tells only what they have come to behind the last.
func (o *Observer) replay(ctx context.Context, pieces []eventPiece, d *eventDecoder, yield func(Event, error) bool) error {
	last := -1
	for i, p := range pieces {
		if p.gap {
			last = i
		}
	}
	for i, p := range pieces {
		err := o.yieldPiece(ctx, p, d, yield)
		if err == nil && i == last {
			err = o.resync(ctx, yield)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// yieldPiece yields the events of a piece.
func (o *Observer) yieldPiece(ctx context.Context, p eventPiece, d *eventDecoder, yield func(Event, error) bool) error {
	if err := o.goOn(ctx); err != nil {
		return err
	}
	if p.gap && !yield(Event{Time: p.read, Kind: EventLost}, nil) {
		return errBroken
	}
	for msg := range p.each {
		e, ok, err := d.decode(msg, p.read)
		if err != nil {
			return err
		}
		if !ok || e.Entry.Zone == ours.FillerZone {
			continue
		}
		if !yield(e, nil) {
			return errBroken
		}
		if err := o.goOn(ctx); err != nil {
			return err
		}
	}
	return nil
}

// resync yields what the table has.
func (o *Observer) resync(ctx context.Context, yield func(Event, error) bool) error {
	entries, err := o.flows(ctx, nf.Filter{})
	if err != nil {
		return fmt.Errorf("read the table again: %w", err)
	}
	now := time.Now()
	for _, e := range entries {
		if err := o.goOn(ctx); err != nil {
			return err
		}
		if !yield(Event{Time: now, Kind: EventResync, Entry: e}, nil) {
			return errBroken
		}
	}
	return nil
}
