package ctexp

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Tally returns the counts since New.
func (x *Experiment) Tally() observe.Tally { x.t.Helper(); return ask(x, "Tally", x.Observer.Tally) }

// Path returns the path of the packets through the hooks since New, with the count at each point.
func (x *Experiment) Path() observe.Path { x.t.Helper(); return ask(x, "Path", x.Observer.Path) }

// Stats returns the counts of conntrack's own statistics since New.
func (x *Experiment) Stats() observe.Stats { x.t.Helper(); return ask(x, "Stats", x.Observer.Stats) }

// Rules returns the experiment's own rules with their counters.
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

// Flow returns the entry in zone 0 that has flow as one of its tuples: the zero Entry if there is none.
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

// Expectations returns the expectations that helpers and rules ("ct expectation set") have in the table now.
func (x *Experiment) Expectations() []nf.Expectation {
	x.t.Helper()
	return askAll(x, "Expectations", x.Observer.Expectations)
}

// Events returns the conntrack events since New, in the kernel's order. When Inject has returned, all events that its packets
// have caused are there. The test fails if events were lost.
func (x *Experiment) Events() []observe.Event {
	x.t.Helper()
	return askAll(x, "Events", x.Observer.Events)
}

// Life returns the events of a flow since New, as observe.Life does:
//
//	[]string{"NEW SYN_SENT", "UPDATE SYN_RECV", "UPDATE ESTABLISHED [ASSURED]", "DESTROY"}
func (x *Experiment) Life(flow nf.Tuple) []string {
	x.t.Helper()
	return observe.Life(x.Events(), flow)
}

// Frames returns the packets captured on all links since New, in the order of time.
func (x *Experiment) Frames() []packet.Record {
	x.t.Helper()
	return askAll(x, "Frames", x.Observer.Frames)
}

// Reasons returns the log messages of conntrack about packets since New: why they were INVALID.
func (x *Experiment) Reasons() []observe.Reason {
	x.t.Helper()
	return askAll(x, "Reasons", x.Observer.Reasons)
}

// Trace returns the rules that packets met since New, with their verdicts. It needs Config.Trace.
func (x *Experiment) Trace() []observe.Step {
	x.t.Helper()
	return askAll(x, "Trace", x.Observer.Trace)
}

// Timeline returns everything recorded since New in the order of time: the frames, each with what conntrack did with its
// packet, and how each Inject has changed the counts.
func (x *Experiment) Timeline() observe.Timeline {
	x.t.Helper()
	return ask(x, "Timeline", x.Observer.Timeline)
}

// Await waits until cond is true, for events that happen after Inject has returned. The test fails with a message that
// contains what if that takes more than 30 s or until the test's deadline. For longer waits use Lab.Await.
func (x *Experiment) Await(what string, cond func() bool) {
	x.t.Helper()
	x.do("Await "+what, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeoutCause(ctx, time.Duration(defaultTimeout), defaultTimeout)
		defer cancel()
		return x.Lab.Await(ctx, func() (bool, error) { return cond(), nil })
	})
}

// Await calls cond until it returns true: at once, then at intervals that grow from one to fifty milliseconds. It returns
// nil, the error that cond returns, or the context's cause when the context is done. Lab.Await reacts faster.
func Await(ctx context.Context, cond func() (bool, error)) error {
	return await(ctx, func() <-chan struct{} { return nil }, cond)
}

// Await calls cond until it returns true: at once, after each conntrack event, and, since not every change is an event, at
// intervals that grow from one to fifty milliseconds. It returns nil, the error that cond returns, or the context's cause
// when the context is done.
func (l *Lab) Await(ctx context.Context, cond func() (bool, error)) error {
	return await(ctx, l.Observer.NextEvent, cond)
}

// await gets the channel that wakes it before it calls cond, so that it misses nothing in between.
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
