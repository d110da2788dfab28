package ctexp

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ctexp/go-ctexp/internal/patience"
)

// logTB is a test without a deadline that keeps its log.
type logTB struct {
	TB
	log []string
}

func (l *logTB) Helper() {}

func (l *logTB) Logf(format string, args ...any) { l.log = append(l.log, fmt.Sprintf(format, args...)) }

// An operation that waits for others to fill their tables does not fail because of them, and says what it waits for.
func TestWaitingForATurnIsLoggedAndDoesNotCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var turns patience.Turns
		others, err := turns.Take(t.Context(), "fill the table")
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Hour, others)
		l := &logTB{}
		ctx, cancel := operation(l)
		defer cancel()

		done, err := turns.Take(ctx, "fill the table")

		if err != nil || ctx.Err() != nil {
			t.Fatalf("%v, %v", err, ctx.Err())
		}
		done()
		want := "[ctexp: waiting for the turn to fill the table: 1 before]"
		if got := fmt.Sprint(l.log); got != want {
			t.Errorf("the log is %s, want %s", got, want)
		}
	})
}

type fakeDeadline struct {
	TB
	at time.Time
	ok bool
}

func (f fakeDeadline) Deadline() (time.Time, bool) { return f.at, f.ok }

// An operation ends a twentieth of what is left before the test's deadline, and at least half a second.
func TestOperationsLeaveTimeToReport(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for left, want := range map[time.Duration]time.Duration{
		10 * time.Minute: 9*time.Minute + 30*time.Second,
		2 * time.Second:  1500 * time.Millisecond,
	} {
		if at, ok := deadline(fakeDeadline{at: now.Add(left), ok: true}, now); !ok || at.Sub(now) != want {
			t.Errorf("%v before the test's deadline: %v, %v, want %v", left, at.Sub(now), ok, want)
		}
	}
	for name, none := range map[string]TB{"without one": fakeDeadline{}, "of a kind that has none": nil} {
		if at, ok := deadline(none, now); ok {
			t.Errorf("a test %s: %v", name, at)
		}
	}
}

// contextTB is a test with a context.
type contextTB struct {
	logTB
	ctx context.Context
}

func (c *contextTB) Context() context.Context { return c.ctx }

// An operation ends with its test. In a cleanup, when the test's context is done, it does not.
func TestOperationsEndWithTheTest(t *testing.T) {
	t.Parallel()
	of, end := context.WithCancel(t.Context())
	during, cancel := operation(&contextTB{ctx: of})
	defer cancel()
	if err := during.Err(); err != nil {
		t.Fatal(err)
	}

	end()

	if err := during.Err(); !errors.Is(err, context.Canceled) {
		t.Errorf("after the test has ended: %v", err)
	}
	cleanup, cancel := operation(&contextTB{ctx: of})
	defer cancel()
	if err := cleanup.Err(); err != nil {
		t.Errorf("in a cleanup: %v", err)
	}
}

// What a cleanup knows of how its test ends.
func TestPanickingIsTheEndByAPanicAlone(t *testing.T) {
	t.Parallel()
	var deep func(n int)
	deep = func(n int) {
		if n == 0 {
			_ = 1 / n
		}
		deep(n - 1)
	}
	for name, c := range map[string]struct {
		test func()
		want bool
	}{
		"returns":                  {func() {}, false},
		"is ended, as by t.Fatal":  {runtime.Goexit, false},
		"panics":                   {func() { panic("so") }, true},
		"panics with nil":          {func() { panic(nil) }, true},
		"fails deep in a function": {func() { deep(500) }, true},
		"has recovered": {func() {
			defer func() { _ = recover() }()
			panic("so")
		}, false},
		"is ended when it has recovered": {func() {
			defer func() {
				_ = recover()
				runtime.Goexit()
			}()
			panic("so")
		}, false},
		"panics when it is ended": {func() {
			defer func() { panic("so") }()
			runtime.Goexit()
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, done := false, make(chan struct{})
			go func() {
				defer close(done)
				defer func() { _ = recover() }()
				defer func() { got = panicking() }() // where testing runs the cleanups
				c.test()
			}()
			<-done
			if got != c.want {
				t.Errorf("a test that %s: panicking is %v", name, got)
			}
		})
	}
}

// So it is in the cleanups of package testing itself, of a test with subtests and of one that ends early.
func TestSubtestsAreNotPanicking(t *testing.T) {
	t.Parallel()
	var got []bool
	t.Run("parent", func(t *testing.T) {
		t.Cleanup(func() { got = append(got, panicking()) })
		t.Run("skips", func(t *testing.T) {
			t.Cleanup(func() { got = append(got, panicking()) })
			t.SkipNow()
		})
	})
	if len(got) != 2 || got[0] || got[1] {
		t.Errorf("panicking: %v", got)
	}
}

// Under go test -v an operation that takes longer than two seconds is told while it runs, and not otherwise.
func TestLongOperationsAreTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var told []string
		ctx := patience.Telling(t.Context(), func(s string) { told = append(told, s) })

		done := doing(ctx, "Inject")
		<-time.After(3 * time.Second)
		done()

		var want []string
		if testing.Verbose() {
			want = []string{"Inject is still running"}
		}
		if diff := Diff(want, told); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}
