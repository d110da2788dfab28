package ctexp

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
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

// Tally returns what was counted since New.
func (x *Experiment) Tally() observe.Tally { x.t.Helper(); return ask(x, "Tally", x.Observer.Tally) }

// Path returns the way that packets took since New.
func (x *Experiment) Path() observe.Path { x.t.Helper(); return ask(x, "Path", x.Observer.Path) }

// Rules returns the experiment's own rules with what they have counted.
func (x *Experiment) Rules() []observe.Rule { x.t.Helper(); return ask(x, "Rules", x.Observer.Rules) }

// Flows returns the entries of the table, all or those that one of the filters selects.
func (x *Experiment) Flows(filters ...nf.Filter) []nf.Entry {
	x.t.Helper()
	if len(filters) == 0 {
		filters = []nf.Filter{{}}
	}
	return askAll(x, "Flows", func(ctx context.Context) iter.Seq2[nf.Entry, error] {
		return func(yield func(nf.Entry, error) bool) {
			for _, f := range filters {
				for e, err := range x.Observer.Flows(ctx, f) {
					if !yield(e, err) || err != nil {
						return
					}
				}
			}
		}
	})
}

// Frames returns what was captured on all links since New, in the order of time.
func (x *Experiment) Frames() []observe.Frame {
	x.t.Helper()
	return askAll(x, "Frames", x.Observer.Frames)
}

// Reasons returns what conntrack had to say about packets since New: why they were INVALID.
func (x *Experiment) Reasons() []observe.Reason {
	x.t.Helper()
	return askAll(x, "Reasons", x.Observer.Reasons)
}

// Trace returns which rules packets met since New, and with what verdicts. It needs Config.Trace.
func (x *Experiment) Trace() []observe.Step {
	x.t.Helper()
	return askAll(x, "Trace", x.Observer.Trace)
}

// Await waits until cond holds, for what happens by itself after Inject has returned. The test fails, with what in
// its message, if it does not within 30 s, or before the test's deadline if that is sooner. For what takes longer there is
// Lab.Await.
func (x *Experiment) Await(what string, cond func() bool) {
	x.t.Helper()
	x.do("Await "+what, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeoutCause(ctx, time.Duration(patience), patience)
		defer cancel()
		return x.Lab.Await(ctx, func() (bool, error) { return cond(), nil })
	})
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
