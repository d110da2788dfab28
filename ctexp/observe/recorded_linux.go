package observe

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/ctexp/go-ctexp/internal/mmsg"
	"github.com/ctexp/go-ctexp/internal/nfnl"
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

// readDatagrams calls add for each datagram that is queued at a netlink socket, with the time at which it was read, and overrun
// where the buffer was full and some are missing.
func readDatagrams(fd int, what string, overrun func(), add func(datagram []byte, now time.Time) error) error {
	err := nfnl.ReadAll(fd, overrun, func(b *mmsg.Buffer, n int) error {
		now := time.Now()
		for i := range n {
			if err := add(b.Payload(i), now); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("receive %s: %w", what, err)
	}
	return nil
}
