package patience

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Turns lets one at a time do something, in the order in which they came. The zero Turns is ready.
type Turns struct {
	mu    sync.Mutex
	queue []chan struct{} // closed when it is their turn; the first has it
}

// silence is how long Take waits before it tells.
const silence = 2 * time.Second

type teller struct{}

// Telling returns a context for which Take tells how many are before it, if it has to wait for more than two seconds, Doing
// what it is that takes as long, and Tell what it is given.
func Telling(ctx context.Context, tell func(text string)) context.Context {
	return context.WithValue(ctx, teller{}, tell)
}

// Take waits for the turn to do what. The timeouts of ctx that WithTimeout has made stop meanwhile; the end of ctx ends the
// waiting. done ends the turn.
func (q *Turns) Take(ctx context.Context, what string) (done func(), err error) {
	turn := q.enter()
	leave := func() { q.leave(turn) }
	select {
	case <-turn:
		return leave, nil
	default:
	}
	defer Pause(ctx)()
	timer := time.NewTimer(silence)
	defer timer.Stop()
	for {
		select {
		case <-turn:
			return leave, nil
		case <-ctx.Done():
			n := q.before(turn)
			leave()
			return nil, fmt.Errorf("waiting for the turn to %s, %d before: %w", what, n, context.Cause(ctx))
		case <-timer.C:
			Tell(ctx, fmt.Sprintf("waiting for the turn to %s: %d before", what, q.before(turn)))
		}
	}
}

func (q *Turns) enter() chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	turn := make(chan struct{})
	if q.queue = append(q.queue, turn); len(q.queue) == 1 {
		close(turn)
	}
	return turn
}

// leave removes a turn, whether it has come or not.
func (q *Turns) leave(turn chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.queue {
		if q.queue[i] != turn {
			continue
		}
		q.queue = append(q.queue[:i:i], q.queue[i+1:]...)
		if i == 0 && len(q.queue) > 0 {
			close(q.queue[0])
		}
		return
	}
}

// before returns how many are before a turn.
func (q *Turns) before(turn chan struct{}) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.queue {
		if q.queue[i] == turn {
			return i
		}
	}
	return 0
}

// Tell tells text to the function of Telling, if ctx has one.
func Tell(ctx context.Context, text string) {
	if tell, ok := ctx.Value(teller{}).(func(string)); ok {
		tell(text)
	}
}

// Doing tells what is being done if done is not called within two seconds, once, to the function of Telling. When done has
// returned, nothing is told anymore.
func Doing(ctx context.Context, what string) (done func()) {
	tell, ok := ctx.Value(teller{}).(func(string))
	if !ok {
		return func() {}
	}
	told := make(chan struct{})
	timer := time.AfterFunc(silence, func() {
		defer close(told)
		tell(what)
	})
	return func() {
		if !timer.Stop() {
			<-told
		}
	}
}
