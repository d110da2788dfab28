package ctexp

import (
	"context"
	"time"
)

// Await asks cond until it holds: at once, then at intervals that grow from one to fifty milliseconds. It returns
// nil when it holds, what cond returns as an error, or the context's cause when that is over.
func Await(ctx context.Context, cond func() (bool, error)) error {
	const shortest, longest = time.Millisecond, 50 * time.Millisecond
	for pause := shortest; ; pause = min(2*pause, longest) {
		ok, err := cond()
		if ok || err != nil {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
	}
}
