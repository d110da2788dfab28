package ctexp

import (
	"context"
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
	patience     = 30 * time.Second
	longest      = 10 * time.Second
	shareOfGrace = 20 // one part in so many
	leastGrace   = 500 * time.Millisecond
)

// deadline returns when an operation that begins now has to give up: some time before the test's own deadline if it has one.
func deadline(t TB, now time.Time) time.Time {
	d, ok := t.(interface{ Deadline() (time.Time, bool) })
	if !ok {
		return now.Add(patience)
	}
	at, ok := d.Deadline()
	if !ok {
		return now.Add(patience)
	}
	return at.Add(-max(leastGrace, at.Sub(now)/shareOfGrace))
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
	return context.WithDeadline(ctx, deadline(t, time.Now()))
}
