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

// Tally returns what was counted since New.
func (x *Experiment) Tally() observe.Tally { x.t.Helper(); return ask(x, "Tally", x.Observer.Tally) }

// Path returns the way that packets took since New.
func (x *Experiment) Path() observe.Path { x.t.Helper(); return ask(x, "Path", x.Observer.Path) }

// Stats returns what conntrack has counted since New.
func (x *Experiment) Stats() observe.Stats { x.t.Helper(); return ask(x, "Stats", x.Observer.Stats) }

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

// Timeline returns what has happened since New in the order of time: the frames, below each of them what conntrack said
// about its packet, and how each Inject has changed the counts.
func (x *Experiment) Timeline() observe.Timeline {
	x.t.Helper()
	return ask(x, "Timeline", x.Observer.Timeline)
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
