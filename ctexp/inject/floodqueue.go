package inject

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

// flood sends by as many goroutines as there are queues, and tells what they have done meanwhile.
func (f Flood) flood(ctx context.Context, link Link, m *mint, p *plan) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var queues sync.WaitGroup
	for range max(1, f.Queues) {
		queues.Go(func() {
			q := newQueue(link, m, p)
			if err := q.run(ctx); err != nil {
				cancel(err)
			}
		})
	}
	done := make(chan struct{})
	go func() {
		queues.Wait()
		close(done)
	}()
	f.tellUntil(done, p)
	return context.Cause(ctx)
}

// tellUntil calls Progress every so often until done is closed.
func (f Flood) tellUntil(done <-chan struct{}, p *plan) {
	if f.Progress == nil {
		<-done
		return
	}
	every := f.Every
	if every == 0 {
		every = time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			f.tell(p)
		}
	}
}

func (f Flood) tell(p *plan) {
	if f.Progress != nil {
		f.Progress(FloodProgress{Sent: int(p.sent.Load()), Of: f.N, Took: time.Since(p.start)})
	}
}

// queue is one of the goroutines that send a Flood, with memory for one batch.
type queue struct {
	write   func(packets [][]byte) (int, error)
	mint    *mint
	plan    *plan
	packets [][]byte
	timer   *time.Timer
}

func newQueue(link Link, m *mint, p *plan) *queue {
	q := &queue{write: oneByOne(link), mint: m, plan: p, packets: make([][]byte, floodBatch)}
	if b, ok := link.(batchLink); ok {
		q.write = b.WriteBatch
	}
	size := len(m.template)
	memory := make([]byte, size*floodBatch)
	for i := range q.packets {
		q.packets[i], memory = memory[:size:size], memory[size:]
	}
	return q
}

// oneByOne is WriteBatch for a link that has none.
func oneByOne(link Link) func([][]byte) (int, error) {
	return func(packets [][]byte) (int, error) {
		for i, p := range packets {
			if _, err := link.Write(p); err != nil {
				return i, err
			}
		}
		return len(packets), nil
	}
}

// run sends what the plan gives it until that is over or ctx is.
func (q *queue) run(ctx context.Context) error {
	for ctx.Err() == nil {
		from, n, wait := q.plan.claim()
		if n == 0 {
			if wait == 0 {
				return nil
			}
			q.pause(ctx, wait)
			continue
		}
		for i := range n {
			q.mint.strike(q.packets[i], from+i)
		}
		sent, err := q.write(q.packets[:n])
		q.plan.sent.Add(uint64(sent))
		if err == nil && uint64(sent) < n {
			err = io.ErrShortWrite
		}
		if err != nil {
			return fmt.Errorf("packet %d: %w", from+uint64(sent)+1, err)
		}
	}
	return nil // the caller knows the cause
}

func (q *queue) pause(ctx context.Context, d time.Duration) {
	if q.timer == nil {
		q.timer = time.NewTimer(d)
	} else {
		q.timer.Reset(d)
	}
	select {
	case <-q.timer.C:
	case <-ctx.Done():
		q.timer.Stop()
	}
}
