package ctexp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path/filepath"
	"reflect"
	"runtime"
	"sync"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/nfnl"
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
func (x *Experiment) Frames() []packet.Record {
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

// Flow returns the entry that has flow as one of its tuples, in zone 0: the zero Entry if the table
// has none.
func (x *Experiment) Flow(flow nf.Tuple) nf.Entry {
	x.t.Helper()
	return ask(x, "Flow", func(ctx context.Context) (nf.Entry, error) {
		e, err := x.Observer.Get(ctx, flow, 0)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return e, err
	})
}

// Expectations returns the flows that helpers and rules ("ct expectation set") expect now.
func (x *Experiment) Expectations() []nf.Expectation {
	x.t.Helper()
	return askAll(x, "Expectations", x.Observer.Expectations)
}

// Stats returns what conntrack has counted since New.
func (x *Experiment) Stats() observe.Stats { x.t.Helper(); return ask(x, "Stats", x.Observer.Stats) }

// Events returns what has happened to the conntrack table since New, in the kernel's order: all that the packets of an
// Inject have done, when it has returned. The test fails if some of it was lost.
func (x *Experiment) Events() []observe.Event {
	x.t.Helper()
	return askAll(x, "Events", x.Observer.Events)
}

// Life returns what has happened to a flow since New, as observe.Life does:
//
//	[]string{"NEW SYN_SENT", "UPDATE SYN_RECV", "UPDATE ESTABLISHED [ASSURED]", "DESTROY"}
func (x *Experiment) Life(flow nf.Tuple) []string {
	x.t.Helper()
	return observe.Life(x.Events(), flow)
}

// Timeline returns what has happened since New in the order of time: the frames, below each of them what conntrack said
// about its packet, and how each Inject has changed the counts.
func (x *Experiment) Timeline() observe.Timeline {
	x.t.Helper()
	return ask(x, "Timeline", x.Observer.Timeline)
}

// Age makes the conntrack table older by d at once and returns how many entries came to their end by it: see
// netnsenv.Env.Age, also for what does not age. The Observer hears of each that ends, as if it had ended by itself; of the
// others' new times it hears nothing.
func (l *Lab) Age(ctx context.Context, d time.Duration, filters ...nf.Filter) (int, error) {
	n, err := l.table(ctx).Age(ctx, d, filters...)
	l.Observer.Mark(ctx, fmt.Sprintf("aged by %v", d))
	return n, err
}

// table returns the Env's table, with the Observer as its Watcher.
func (l *Lab) table(ctx context.Context) *netnsenv.Table {
	return l.Env.Table().WatchedBy(netnsenv.Watcher{
		Drain: l.Observer.Drain,
		Entries: func(f nf.Filter) ([]nf.Entry, error) {
			entries, err := collect(l.Observer.Flows(ctx, f))
			if unknown := (*nfnl.UnknownError)(nil); errors.As(err, &unknown) {
				err = nil // attributes of later kernels are not needed
			}
			return entries, err
		},
	})
}

// Age makes the table older by d at once, all entries or those that one of the filters selects, and returns how many came
// to their end by it:
//
//	x.Age(121 * time.Second) // no TIME_WAIT is left
func (x *Experiment) Age(d time.Duration, filters ...nf.Filter) int {
	x.t.Helper()
	return ask(x, "Age", func(ctx context.Context) (int, error) { return x.Lab.Age(ctx, d, filters...) })
}

// Flush deletes the entries of the table, all or those that one of the filters selects, and returns how many. The Observer
// hears of each: its events are taken while it goes on, so that none are lost.
func (l *Lab) Flush(ctx context.Context, filters ...nf.Filter) (int, error) {
	if len(filters) == 0 {
		filters = []nf.Filter{{}}
	}
	deleted := 0
	for _, f := range filters {
		n, err := l.table(ctx).Flush(ctx, f)
		if deleted += n; err != nil {
			return deleted, err
		}
	}
	return deleted, nil
}

// Flush deletes the entries of the table, all or those that one of the filters selects, and returns how many.
func (x *Experiment) Flush(filters ...nf.Filter) int {
	x.t.Helper()
	return ask(x, "Flush", func(ctx context.Context) (int, error) { return x.Lab.Flush(ctx, filters...) })
}

// Load loads rules in their order, as Config.Rules are, for those that come or change in the middle of an experiment:
//
//	x.Load(netnsenv.NFTables(func(c *nftables.Conn) error { c.DelTable(policy); return nil }))
func (x *Experiment) Load(rules ...netnsenv.Ruleset) {
	x.t.Helper()
	x.do("Load", func(ctx context.Context) error {
		for i, r := range rules {
			if r == nil {
				panic(fmt.Sprintf("ctexp: Load: ruleset %d is nil", i+1))
			}
			if err := r.Load(ctx, x.Env); err != nil {
				return err
			}
		}
		return nil
	})
}

// Join joins the Env of the Lab to another's by a wire, as netnsenv.Join does. What one of them injects is done in both, and
// seen by both Observers, when Inject returns.
func (l *Lab) Join(ctx context.Context, other *Lab, w netnsenv.Wire) error {
	if other == nil {
		return errors.New("ctexp: join: the other Lab is nil")
	}
	return netnsenv.Join(ctx, l.Env, other.Env, w)
}

// Join joins the experiment's host to another's by a wire, the first end of which is here: see netnsenv.Join.
func (x *Experiment) Join(other *Experiment, w netnsenv.Wire) {
	x.t.Helper()
	x.do("Join", func(ctx context.Context) error {
		if other == nil {
			return errors.New("the other Experiment is nil")
		}
		return x.Lab.Join(ctx, other.Lab, w)
	})
}

// Await asks cond until it holds: at once, then at intervals that grow from one to fifty milliseconds. It returns
// nil when it holds, what cond returns as an error, or the context's cause when that is over. Lab.Await asks sooner.
func Await(ctx context.Context, cond func() (bool, error)) error {
	return await(ctx, func() <-chan struct{} { return nil }, cond)
}

// Await asks cond until it holds: at once, whenever something has happened to the conntrack table, and else, since not
// everything is an event, at intervals that grow from one to fifty milliseconds. It returns nil when it holds, what cond
// returns as an error, or the context's cause when that is over.
func (l *Lab) Await(ctx context.Context, cond func() (bool, error)) error {
	return await(ctx, l.Observer.NextEvent, cond)
}

// await gets what wakes it before it asks, so that nothing is missed in between.
func await(ctx context.Context, next func() <-chan struct{}, cond func() (bool, error)) error {
	const shortest, longest = time.Millisecond, 50 * time.Millisecond
	for pause := shortest; ; pause = min(2*pause, longest) {
		woken := next()
		ok, err := cond()
		if ok || err != nil {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-woken:
			timer.Stop()
		case <-timer.C:
		}
	}
}
