package observe

import (
	"context"
	"fmt"
	"iter"
	"time"

	"golang.org/x/sys/unix"
)

// recording yields what read has of a recording, which is called when the iteration begins. Where some of it is missing,
// as a lost that is not zero says, the iteration ends in errLost. Every error names what was recorded.
func recording[T any, L comparable](ctx context.Context, o *Observer, what string, errLost error, read func(context.Context) ([]T, L, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		var nothing L
		all, lost, err := read(ctx)
		if err != nil {
			yield(zero, fmt.Errorf("%s: %w", what, err))
			return
		}
		for _, v := range all {
			if err := o.goOn(ctx); err != nil {
				yield(zero, fmt.Errorf("%s: %w", what, err))
				return
			}
			if !yield(v, nil) {
				return
			}
		}
		if lost != nothing {
			yield(zero, fmt.Errorf("%s: %w: %v", what, errLost, lost))
		}
	}
}

// receiveAll hands on the messages that are queued at a netlink socket, each with the time at which it was read; overrun
// is told when the buffer was full and some are missing.
func receiveAll(fd int, what string, overrun func(), add func(message []byte, now time.Time) error) error {
	b := batches.Get().(*batch)
	defer batches.Put(b)
	for {
		n, err := b.receive(fd)
		switch {
		case err == unix.EAGAIN:
			return nil
		case err == unix.ENOBUFS:
			overrun()
			continue
		case err != nil:
			return fmt.Errorf("receive %s: %w", what, err)
		}
		now := time.Now()
		for i := range n {
			if err := add(b.payload(i), now); err != nil {
				return err
			}
		}
	}
}
