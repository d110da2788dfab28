// Package patience has timeouts that count only time that was this process's own: not the time in which it was ready to
// run but the machine ran others, and not the time in which it waited for its turn.
package patience

import (
	"context"
	"sync"
	"time"
)

// timeout is a context that ends when its budget is used up.
type timeout struct {
	parent *timeout // of the context that it was made from; nil if there is none

	mu     sync.Mutex
	left   time.Duration
	since  time.Time // when the current step began
	usage  usage     // of the process at that time; zero in the first step, which is counted whole
	paused int       // Pauses that have not ended
	ended  bool      // it is over, or was cancelled
	over   bool
	step   time.Duration
	timer  *time.Timer
	expire func()
}

type key struct{}

// steps is the number of parts of a timeout, after each of which it is seen how much of the part was the process's own.
const steps = 10

// expiring is the context of a timeout.
type expiring struct {
	context.Context
	*timeout
}

// Err returns context.DeadlineExceeded once the timeout is over.
func (e expiring) Err() error {
	err := e.Context.Err()
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil && e.over {
		return context.DeadlineExceeded
	}
	return err
}

// WithTimeout is context.WithTimeoutCause for a timeout that does not count what is not the process's own time. The context
// has no Deadline of its own, because that is not known before.
func WithTimeout(ctx context.Context, d time.Duration, cause error) (context.Context, context.CancelFunc) {
	parent, _ := ctx.Value(key{}).(*timeout)
	ctx, cancel := context.WithCancelCause(ctx)
	t := &timeout{parent: parent, left: d, since: time.Now(), step: max(d/steps, 1), expire: func() { cancel(cause) }}
	t.mu.Lock()
	t.timer = time.AfterFunc(t.step, t.tick)
	t.mu.Unlock()
	return expiring{context.WithValue(ctx, key{}, t), t}, func() {
		t.mu.Lock()
		t.ended = true
		t.timer.Stop()
		t.mu.Unlock()
		cancel(context.Canceled)
	}
}

// tick ends a step.
func (t *timeout) tick() {
	if t.next() {
		t.expire()
	}
}

// next begins the next step, or reports that the timeout is over.
func (t *timeout) next() (over bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended || t.paused > 0 {
		return false
	}
	if t.count(); t.left <= 0 {
		t.ended, t.over = true, true
		return true
	}
	t.timer.Reset(min(t.step, t.left))
	return false
}

// count subtracts what was the process's own of the current step, and begins the next.
func (t *timeout) count() {
	now, use := time.Now(), used()
	took := now.Sub(t.since)
	if t.usage != (usage{}) {
		took = time.Duration(float64(took) * share(t.usage, use))
	}
	t.left -= took
	t.since, t.usage = now, use
}

// pause stops the timeout until it is resumed.
func (t *timeout) pause() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.paused++; t.paused == 1 && !t.ended {
		t.timer.Stop()
		t.count()
	}
}

func (t *timeout) resume() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.paused--; t.paused == 0 && !t.ended {
		t.since, t.usage = time.Now(), usage{}
		t.timer.Reset(max(min(t.step, t.left), 0))
	}
}

// Pause stops all timeouts of ctx that WithTimeout has made until resume is called. The context's other deadlines go on.
func Pause(ctx context.Context) (resume func()) {
	innermost, _ := ctx.Value(key{}).(*timeout)
	for t := innermost; t != nil; t = t.parent {
		t.pause()
	}
	return func() {
		for t := innermost; t != nil; t = t.parent {
			t.resume()
		}
	}
}

// usage is how long the threads of the process have run, and how long they were ready to run but did not.
type usage struct{ ran, waited time.Duration }

// share returns which part of the time between two usages was the process's own: 1 if it did not have to wait, a tenth if
// it waited nine times as long as it ran, and then takes ten times as long for everything.
func share(before, now usage) float64 {
	ran, waited := max(now.ran-before.ran, 0), max(now.waited-before.waited, 0)
	if waited == 0 {
		return 1
	}
	return float64(max(ran, time.Microsecond)) / float64(max(ran, time.Microsecond)+waited)
}
