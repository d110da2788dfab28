package ctexp

import (
	"context"
	"time"
)

// Await asks cond until it holds: at once, then at intervals that grow from one to fifty milliseconds. It returns
// nil when it holds, what cond returns as an error, or the context's cause when that is over. Lab.Await asks sooner.
func Await(ctx context.Context, cond func() (bool, error)) error {
	return await(ctx, func() <-chan struct{} { return nil }, cond)
}

// Await asks cond until it holds: at once, whenever something has happened to the conntrack table, and else, since not
// everything is an event, at intervals that grow from one to fifty milliseconds. It returns nil when it holds, what cond
// returns as an error, or the context's cause when that is over.
func (l *Lab) Await(ctx context.Context, cond func() (bool, error)) error {
	return await(ctx, l.Observer.NextEvent, cond)
}

// await gets what wakes it before it asks, so that nothing is missed in between.
func await(ctx context.Context, next func() <-chan struct{}, cond func() (bool, error)) error {
	const shortest, longest = time.Millisecond, 50 * time.Millisecond
	for pause := shortest; ; pause = min(2*pause, longest) {
		woken := next()
		ok, err := cond()
		if ok || err != nil {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-woken:
			timer.Stop()
		case <-timer.C:
		}
	}
}
