package ctexp

import (
	"context"
	"fmt"
	"time"
)

// TB is what an Experiment needs of a test: *testing.T, *testing.B and *testing.F have it.
type TB interface {
	Helper()
	Name() string
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
	Failed() bool
	Cleanup(func())
}

// How long an operation may wait where the test has no deadline, and what it leaves of one for the failure to
// explain itself. An expectation waits no longer than longest: a test that fails should not take its ten minutes for that.
const (
	patience     = tooLong(30 * time.Second)
	longest      = 10 * time.Second
	shareOfGrace = 20 // one part in so many
	leastGrace   = 500 * time.Millisecond
)

// deadline returns when an operation that begins now has to give up: some time before the test's own deadline if it has one.
func deadline(t TB, now time.Time) (time.Time, tooLong) {
	d, ok := t.(interface{ Deadline() (time.Time, bool) })
	if !ok {
		return now.Add(time.Duration(patience)), patience
	}
	at, ok := d.Deadline()
	if !ok {
		return now.Add(time.Duration(patience)), patience
	}
	return at.Add(-max(leastGrace, at.Sub(now)/shareOfGrace)), 0
}

// operation returns the context of one operation of a test: it ends with the test, and in time for the test to say why.
func operation(t TB) (context.Context, context.CancelFunc) {
	ctx := context.Background()
	if c, ok := t.(interface{ Context() context.Context }); ok {
		// During Cleanup the test's own context is over already, but what is being cleaned up still has to be asked.
		if c.Context().Err() == nil {
			ctx = c.Context()
		}
	}
	at, why := deadline(t, time.Now())
	return context.WithDeadlineCause(ctx, at, why)
}

// tooLong is why an operation has given up: for how long it has waited, 0 if until the test's deadline.
type tooLong time.Duration

func (d tooLong) Error() string {
	if d == 0 {
		return "not before the test's deadline"
	}
	return fmt.Sprintf("not within %v", time.Duration(d))
}

func (d tooLong) Unwrap() error { return context.DeadlineExceeded }
