package ctexp

import (
	"context"
	"fmt"
	"iter"
	"path/filepath"
	"reflect"
	"runtime"
	"sync"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

// Experiment is a Lab for one test. Its methods have no error results: what goes wrong fails the test at once, so they
// are for the test's own goroutine; others use the Lab. A subtest is a test of its own: with the Experiment of its parent
// it would fail, and with Fatalf end, the parent. It makes an Experiment for itself, or asks the Lab and fails by its own t.
//
// A test may have several, joined by Join or not. If it fails, each of them says which one it is and where it was made.
type Experiment struct {
	*Lab
	t        TB
	order    int    // which one of the test it is, from 1
	place    string // where it was made
	failures failures
}

// New opens a Lab for the test and closes it at its end. The test skips if this machine cannot do what the Config asks for
// (see the package's documentation), and fails if the Config is wrong. If the test fails or panics, its log shows what
// happened in the Lab.
func New(t TB, cfg netnsenv.Config) *Experiment {
	t.Helper()
	ctx, cancel := operation(t)
	defer cancel()
	lab, err := Open(ctx, cfg)
	if err != nil {
		cannot(t, "ctexp.New", err)
		return nil // a fake TB goes on
	}
	lab.Inbox.Patience = longest
	x := &Experiment{Lab: lab, t: t, order: experimentsOf.add(t), place: caller()}
	t.Cleanup(x.close)
	checkLacks(t, lab.Env)
	return x
}

// close ends the experiment, and explains the test's failure before everything is gone.
func (x *Experiment) close() {
	x.t.Helper()
	defer experimentsOf.remove(x.t)
	panics := panicking()
	if panics {
		x.failures.add("the test panicked: what with, go test says at the end of the log")
	}
	if panics || x.t.Failed() {
		ctx, cancel := explaining(x.t)
		defer cancel()
		k := x.lookAtAll(ctx)
		d := x.reportData(k, x.name())
		x.t.Logf("%s\n--- %s", x.reportText(k, d, x.which()), x.keepArtifacts(k, d))
		hold(x.name(), x.Env)
	}
	if err := x.Lab.Close(); err != nil {
		x.t.Logf("ctexp: close: %v", err)
	}
}

// do runs one operation and ends the test if it fails.
func (x *Experiment) do(what string, f func(context.Context) error) {
	x.t.Helper()
	ctx, cancel := operation(x.t)
	defer cancel()
	if err := f(ctx); err != nil {
		x.failures.add(fmt.Sprintf("%s: %v", what, err))
		cannot(x.t, what, err)
	}
}

// ask is do for an operation with a result.
func ask[T any](x *Experiment, what string, f func(context.Context) (T, error)) (result T) {
	x.t.Helper()
	x.do(what, func(ctx context.Context) (err error) {
		result, err = f(ctx)
		return err
	})
	return result
}

// do1 is do for an operation with an argument.
func do1[A any](x *Experiment, what string, f func(context.Context, A) error, a A) {
	x.t.Helper()
	x.do(what, func(ctx context.Context) error { return f(ctx, a) })
}

// ask1 is ask for an operation with an argument.
func ask1[A, T any](x *Experiment, what string, f func(context.Context, A) (T, error), a A) T {
	x.t.Helper()
	return ask(x, what, func(ctx context.Context) (T, error) { return f(ctx, a) })
}

// askAll is ask for a sequence.
func askAll[T any](x *Experiment, what string, f func(context.Context) iter.Seq2[T, error]) []T {
	x.t.Helper()
	return ask(x, what, func(ctx context.Context) ([]T, error) { return collect(f(ctx)) })
}

// name is what the files of the report are called: the test's name, with a number from the test's second Experiment on.
func (x *Experiment) name() string {
	if x.order > 1 {
		return fmt.Sprintf("%s.%d", x.t.Name(), x.order)
	}
	return x.t.Name()
}

// which tells the Experiment from the others of its test: "experiment 2 of 3 (first_test.go:24)". It is empty if there are
// no others.
func (x *Experiment) which() string {
	n := experimentsOf.made(x.t)
	if n <= 1 {
		return ""
	}
	return fmt.Sprintf("experiment %d of %d (%s)", x.order, n, x.place)
}

// caller returns where the caller of its caller stands: "first_test.go:24".
func caller() string {
	_, file, line, ok := runtime.Caller(2)
	if !ok {
		return "somewhere"
	}
	return fmt.Sprintf("%s:%d", filepath.Base(file), line)
}

// experimentsOf counts the Experiments of each test, whose reports would otherwise overwrite each other. It is a variable of
// the package because a TB has no place for it; the count of a test is removed with the test's last Experiment.
var experimentsOf = experimentCounts{of: map[TB]*experimentCount{}}

type experimentCounts struct {
	mu sync.Mutex
	of map[TB]*experimentCount
}

// experimentCount counts the Experiments of one test: those that were made, and those that are still open.
type experimentCount struct{ made, open int }

// add counts one more Experiment of t and returns its number, from 1. A fake TB that is not comparable counts as a new test
// each time.
func (c *experimentCounts) add(t TB) int {
	if !reflect.ValueOf(t).Comparable() {
		return 1
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.of[t]
	if n == nil {
		n = &experimentCount{}
		c.of[t] = n
	}
	n.made++
	n.open++
	return n.made
}

// made returns how many Experiments of t there have been since none was open.
func (c *experimentCounts) made(t TB) int {
	if !reflect.ValueOf(t).Comparable() {
		return 1
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.of[t]; n != nil {
		return n.made
	}
	return 0
}

// remove notes that an Experiment of t is closed.
func (c *experimentCounts) remove(t TB) {
	if !reflect.ValueOf(t).Comparable() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.of[t]
	if n.open--; n.open == 0 {
		delete(c.of, t)
	}
}

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
