package ctexp

import (
	"context"
	"flag"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/internal/patience"
	"github.com/ctexp/go-ctexp/internal/plain"
)

// Experiment is a Lab for one test. Its methods have no error results: an error ends the test at once, so they must be
// called from the test's own goroutine; other goroutines use the Lab. A subtest must not use the Experiment of its parent,
// because failures would go to the parent's t: it makes its own Experiment, or uses the Lab and reports through its own t.
//
// A test may have several Experiments, joined by Join or not. If it fails, each report says which Experiment it is about
// and where that was made.
type Experiment struct {
	*Lab
	t        TB
	order    int    // its number among the test's Experiments, from 1
	place    string // file and line of the call of New
	failures failures
}

// TB is what an Experiment needs of a test; *testing.T, *testing.B and *testing.F implement it.
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

// Main runs the tests of a package as root of new user, mount and network namespaces; see netnsenv.Enter. Call it from
// TestMain with the *testing.M; it does not return. Flags, input, output, signals and the exit status work as without it.
// Localhost works, too; MainWith leaves the tests in the host's network. If namespaces cannot be created, the tests that need
// them skip.
func Main(m interface{ Run() int }) { MainWith(m, netnsenv.Entry{}) }

// MainWith is Main with the options in e; see netnsenv.EnterWith.
func MainWith(m interface{ Run() int }, e netnsenv.Entry) {
	netnsenv.EnterWith(e)
	os.Exit(m.Run())
}

// New opens a Lab for the test and closes it when the test ends. The test skips if this machine cannot do what the Config
// asks for (see the package's documentation), and fails if the Config is invalid. If the test fails or panics, its log
// shows what happened in the Lab. With CTEXP_TRACE=1 every Env has Config.Trace.
func New(t TB, cfg netnsenv.Config) *Experiment {
	t.Helper()
	if isInBubble(t) {
		t.Fatalf("ctexp.New: testing/synctest has a clock of its own, which the kernel does not know: open the experiment outside synctest.Test")
	}
	ctx, cancel := operation(t)
	defer cancel()
	defer doing(ctx, "ctexp.New")()
	lab, err := Open(ctx, traced(cfg))
	if err != nil {
		cannot(t, "ctexp.New", err)
		return nil // only a fake TB gets here
	}
	lab.Inbox.Patience = expectTimeout
	x := &Experiment{Lab: lab, t: t, order: experimentsOf.add(t), place: caller()}
	t.Cleanup(x.close)
	checkLacks(t, lab.Env)
	return x
}

// isInBubble reports whether the test runs in a bubble of testing/synctest, where Deadline panics.
func isInBubble(t TB) (is bool) {
	d, ok := t.(interface{ Deadline() (time.Time, bool) })
	if !ok {
		return false
	}
	defer func() {
		switch r := recover(); {
		case r == nil:
		case strings.Contains(fmt.Sprint(r), "synctest"):
			is = true
		default:
			panic(r)
		}
	}()
	d.Deadline()
	return false
}

// close ends the experiment. If the test has failed, it first writes the report.
func (x *Experiment) close() {
	x.t.Helper()
	defer experimentsOf.remove(x.t)
	panics := panicking()
	if panics {
		x.failures.add("the test panicked: go test prints the panic at the end of the log")
	}
	if panics || x.t.Failed() {
		ctx, cancel := explaining(x.t)
		defer cancel()
		snap := x.reportSnapshot(ctx)
		d := x.reportData(snap, x.name())
		x.t.Logf("%s%s\n--- again: %s\n--- %s", x.reportText(snap, d, x.which()), howToTrace(x.t, x.Env, snap.path), rerun(x.t.Name()), plain.Line(x.keepArtifacts(snap, d)))
		hold(x.name(), x.Env)
	}
	if err := x.Lab.Close(); err != nil {
		x.t.Logf("ctexp: close: %s", plain.Text(err.Error()))
	}
}

// do runs one operation and ends the test if it fails.
func (x *Experiment) do(what string, f func(context.Context) error) {
	x.t.Helper()
	ctx, cancel := operation(x.t)
	defer cancel()
	defer doing(ctx, what)()
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

// name returns the name of the report's files: the test's name, with a number from the test's second Experiment on.
func (x *Experiment) name() string {
	if x.order > 1 {
		return fmt.Sprintf("%s.%d", x.t.Name(), x.order)
	}
	return x.t.Name()
}

// which identifies the Experiment among those of its test: "experiment 2 of 3 (first_test.go:24)". It is empty if there is
// only one.
func (x *Experiment) which() string {
	n := experimentsOf.made(x.t)
	if n <= 1 {
		return ""
	}
	return fmt.Sprintf("experiment %d of %d (%s)", x.order, n, x.place)
}

// caller returns file and line of the call of its caller: "first_test.go:24".
func caller() string {
	_, file, line, ok := runtime.Caller(2)
	if !ok {
		return "somewhere"
	}
	return fmt.Sprintf("%s:%d", filepath.Base(file), line)
}

// experimentsOf counts the Experiments of each test, so that their reports do not overwrite each other. It is a package
// variable because a TB cannot hold it; the count of a test is removed with the test's last Experiment.
var experimentsOf = experimentCounts{of: map[TB]*experimentCount{}}

type experimentCounts struct {
	mu sync.Mutex
	of map[TB]*experimentCount
}

// experimentCount counts the Experiments of one test: all that were made, and those still open.
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

// made returns how many Experiments of t were made since there was last none open.
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

// remove records that an Experiment of t was closed.
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

const (
	// defaultTimeout limits an operation if the test has no deadline. Neither the time that a busy machine takes from the
	// process nor the time in which it waits for its turn to fill a table counts.
	defaultTimeout = timeoutError(30 * time.Second)
	// expectTimeout limits an expectation, so that a failing one does not use up the test's ten minutes.
	expectTimeout = 10 * time.Second
	// An operation ends before the test's deadline by 1/graceShare of the remaining time, at least by minGrace, so that the
	// failure can still be reported.
	graceShare = 20
	minGrace   = 500 * time.Millisecond
)

// deadline returns when an operation that begins now must give up: shortly before the test's own deadline, if it has one.
func deadline(t TB, now time.Time) (at time.Time, ok bool) {
	if d, has := t.(interface{ Deadline() (time.Time, bool) }); has {
		at, ok = d.Deadline()
	}
	if !ok {
		return time.Time{}, false
	}
	return at.Add(-max(minGrace, at.Sub(now)/graceShare)), true
}

// operation returns the context of one operation of a test. It ends with the test, and early enough to report the failure.
func operation(t TB) (context.Context, context.CancelFunc) {
	ctx := context.Background()
	if c, ok := t.(interface{ Context() context.Context }); ok {
		// During Cleanup the test's own context is already done, but operations must still work.
		if c.Context().Err() == nil {
			ctx = c.Context()
		}
	}
	ctx = patience.Telling(ctx, func(text string) {
		t.Helper()
		t.Logf("ctexp: %s", text)
	})
	if at, ok := deadline(t, time.Now()); ok {
		return context.WithDeadlineCause(ctx, at, timeoutError(0))
	}
	return patience.WithTimeout(ctx, time.Duration(defaultTimeout), defaultTimeout)
}

// doing tells under go test -v what takes longer than two seconds. Otherwise it would be seen only when it is over.
func doing(ctx context.Context, what string) (done func()) {
	if v := flag.Lookup("test.v"); v == nil || v.Value.String() == "false" {
		return func() {}
	}
	return patience.Doing(ctx, what+" is still running")
}

// timeoutError is the error of an operation that has timed out: how long it has waited, 0 if until the test's deadline.
type timeoutError time.Duration

func (d timeoutError) Error() string {
	if d == 0 {
		return "not before the test's deadline"
	}
	return fmt.Sprintf("not within %v", time.Duration(d))
}

func (d timeoutError) Unwrap() error { return context.DeadlineExceeded }
