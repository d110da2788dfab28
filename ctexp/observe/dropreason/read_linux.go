package dropreason

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"time"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// ErrLost says that packets were dropped that are not among those that Drops gave.
var ErrLost = errors.New("reasons of dropped packets were lost")

// Drops returns the packets that were dropped since the Watcher was opened until the iteration begins, in the kernel's order,
// or nearly: two CPUs may change places. After an Inject that is all that has become of its packets.
//
// Where some are missing the iteration ends in ErrLost with how many. After Close it has what was dropped until then.
func (w *Watcher) Drops(ctx context.Context) iter.Seq2[nf.Dropped, error] {
	return func(yield func(nf.Dropped, error) bool) {
		drops, err := w.recorded(ctx)
		for _, d := range drops {
			if !yield(d, nil) {
				return
			}
		}
		if err != nil {
			yield(nf.Dropped{}, fmt.Errorf("dropreason: %w", err))
		}
	}
}

func (w *Watcher) recorded(ctx context.Context) ([]nf.Dropped, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	unread, err := w.count()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		unread, err = w.unread, nil
	}
	if err != nil {
		return nil, err
	}
	drops, bad := w.drops[:len(w.drops):len(w.drops)], w.bad
	if unread+w.over > 0 {
		bad = errors.Join(fmt.Errorf("%w: %d found the ring full, %d came when as many were kept as fit", ErrLost, unread, w.over), bad)
	}
	return drops, bad
}

// count reads all that is in the ring and returns how many found it full.
func (w *Watcher) count() (unread uint64, err error) {
	if err := w.drain(); err != nil {
		return 0, err
	}
	if err := w.lost.Lookup(uint32(0), &unread); err != nil {
		return 0, fmt.Errorf("read a BPF map: %w", err)
	}
	return unread, nil
}

// drain waits until all that is in the ring was read.
func (w *Watcher) drain() error {
	w.flush.Lock()
	defer w.flush.Unlock()
	if err := w.reader.Flush(); err != nil {
		return fmt.Errorf("read a BPF ring: %w", err)
	}
	return <-w.asked
}

// read keeps what comes until the reader is closed; then it answers who still asks.
func (w *Watcher) read() {
	var rec ringbuf.Record
	for {
		switch err := w.reader.ReadInto(&rec); {
		case err == nil:
			w.keep(rec.RawSample)
		case errors.Is(err, ringbuf.ErrFlushed):
			w.asked <- nil
		default:
			w.end(err)
			return
		}
	}
}

// end lets everybody know that nothing more is read.
func (w *Watcher) end(err error) {
	if !errors.Is(err, os.ErrClosed) {
		w.mu.Lock()
		w.bad = fmt.Errorf("read a BPF ring: %w", err)
		w.mu.Unlock()
	}
	close(w.asked)
}

func (w *Watcher) keep(record []byte) {
	e, err := decode(record)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err != nil:
		w.bad = err
	case len(w.drops) >= maxDrops:
		w.over++
	default:
		w.drops = append(w.drops, nf.Dropped{
			Time: w.started.Add(time.Duration(e.monotonic)), Reason: w.names.name(e.reason), Function: kernelSymbols().name(e.location - 1),
			Link: e.link, Packet: bytes.Clone(e.packet), Length: int(e.length),
		})
	}
}
