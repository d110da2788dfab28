package observe

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// Follow returns what happens to the conntrack table from when the iteration begins on, and waits for more. It ends with
// the error of ctx when that is over, or with os.ErrClosed when the Observer is closed.
//
// Where events are missing it goes on: an EventLost says so, and an EventResync for each entry says what the table has
// then, from which one can go on, too. The error at the end is ErrEventsLost as well in that case. Who follows has to keep
// up: what waits to be taken is bounded by MaxEvents, beyond which events are missing as well.
func (o *Observer) Follow(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if err := o.follow(ctx, yield); err != errBroken {
			yield(Event{}, fmt.Errorf("follow events: %w", err))
		}
	}
}

func (o *Observer) follow(ctx context.Context, yield func(Event, error) bool) error {
	if _, _, err := o.recorded(ctx); err != nil { // what came before is out of the way
		return err
	}
	f := o.events.log.follow()
	defer o.events.log.leave(f)
	var d eventDecoder
	lost := false
	err := o.followOn(ctx, f, func(p eventPiece) error {
		err := o.yieldPiece(ctx, p, &d, yield)
		if p.gap && err == nil {
			lost = true
			err = o.resync(ctx, yield)
		}
		return err
	})
	if lost && err != errBroken {
		err = errors.Join(err, ErrEventsLost)
	}
	if err != errBroken {
		err = errors.Join(err, d.err())
	}
	return err
}

// followOn hands on what comes until ctx ends, the Observer is closed, or hand fails.
func (o *Observer) followOn(ctx context.Context, f *follower, hand func(eventPiece) error) error {
	for {
		for _, p := range f.take() {
			if err := hand(p); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-f.ready:
			if err := o.goOn(ctx); err != nil {
				return err
			}
		}
	}
}

// NextEvent returns a channel that is closed when the next event is recorded, or the Observer is closed. Who waits for
// something that shows in the table gets the channel first, then looks, and then waits. Where there are no events the
// channel is nil, on which nothing is ever received.
func (o *Observer) NextEvent() <-chan struct{} {
	if o.events.missing != nil {
		return nil
	}
	return o.events.log.next()
}
