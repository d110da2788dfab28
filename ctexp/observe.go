package ctexp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/patience"
)

// Tally returns the counts since New.
func (x *Experiment) Tally() observe.Tally { x.t.Helper(); return ask(x, "Tally", x.Observer.Tally) }

// Path returns the path of the packets through the hooks since New, with the count at each point.
func (x *Experiment) Path() observe.Path { x.t.Helper(); return ask(x, "Path", x.Observer.Path) }

// Stats returns the counts of conntrack's own statistics since New.
func (x *Experiment) Stats() observe.Stats { x.t.Helper(); return ask(x, "Stats", x.Observer.Stats) }

// Rules returns the experiment's own rules with their counters.
func (x *Experiment) Rules() []observe.Rule { x.t.Helper(); return ask(x, "Rules", x.Observer.Rules) }

// AllowVacuous says that the test asserts the absence of packets, entries or events although it has sent, dialled and run
// nothing. Without it ExpectNothing and an empty Flows, Flow, Expectations, Events, Life, Frames, Fates, Reasons, Trace, Received,
// Queue.Held or Tally.Diff fail the test then: they would be the same whatever the rules under test do. So do Age and Flush with a
// filter that has never selected an entry.
func (x *Experiment) AllowVacuous() { x.Observer.AllowVacuous() }

// earned ends the test if there is nothing where there could not be anything. seen says what a question about one flow must
// have met: nil for a question that is about everything.
func (x *Experiment) earned(what string, flow *nf.Tuple) {
	x.t.Helper()
	x.do(what, func(ctx context.Context) error {
		if err := x.Observer.Earned(); err != nil {
			return fmt.Errorf("there is nothing, but %w; if that is meant, call x.AllowVacuous", err)
		}
		if err := x.wasDone(); err != nil {
			return err
		}
		if flow != nil {
			return x.wasSeen(ctx, *flow)
		}
		return nil
	})
}

// proven returns what a question has found. If that is nothing, it ends the test if there could not be anything.
func proven[T any](x *Experiment, what string, found []T) []T {
	x.t.Helper()
	if len(found) == 0 {
		x.earned(what, nil)
	}
	return found
}

// Flows returns the entries of the table, all or those that one of the filters selects: those of each filter ordered by
// their original tuples.
func (x *Experiment) Flows(filters ...nf.Filter) []nf.Entry {
	x.t.Helper()
	if len(filters) == 0 {
		filters = []nf.Filter{{}}
	}
	flows := ask(x, "Flows", func(ctx context.Context) (all []nf.Entry, err error) {
		if len(filters) == 1 {
			return x.Observer.SortedFlows(ctx, filters[0])
		}
		for _, f := range filters {
			entries, err := x.Observer.SortedFlows(ctx, f)
			if err != nil {
				return nil, err
			}
			all = append(all, entries...)
		}
		return all, nil
	})
	return proven(x, "Flows", flows)
}

// Flow returns the entry in zone 0 that has flow as one of its tuples: the zero Entry if there is none. The test fails if
// there is none and no packet and no event was about the flow, or there is one in another zone: it is most likely another one
// than was meant.
func (x *Experiment) Flow(flow nf.Tuple) nf.Entry {
	x.t.Helper()
	none := false
	entry := ask(x, "Flow", func(ctx context.Context) (nf.Entry, error) {
		e, err := x.entry(ctx, flow)
		if none = errors.Is(err, fs.ErrNotExist); none {
			err = nil
		}
		return e, err
	})
	if none {
		x.earned("Flow", &flow)
	}
	return entry
}

// wasSeen returns an error if neither a captured packet nor an event is about a flow, in either direction, or if its packets are those of a
// flow with NAT, on the side where they have other addresses than in its entry. What was not recorded cannot be told.
func (x *Experiment) wasSeen(ctx context.Context, flow nf.Tuple) error {
	if x.Observer.VacuousAllowed() {
		return nil
	}
	back := flow.Reverse()
	var nat *nf.Entry // has back, and not flow as every entry without NAT that has back
	for e, err := range x.Observer.Events(ctx) {
		if err != nil || e.Entry.Orig == flow || e.Entry.Reply == flow {
			return nil
		}
		if e.Entry.Orig == back || e.Entry.Reply == back {
			nat = &e.Entry
		}
	}
	if nat != nil {
		return fmt.Errorf("there is nothing about %v %v, but by NAT its packets are those of %v: ask for a tuple of that; if nothing is meant, call x.AllowVacuous",
			flow.Proto, flow, *nat)
	}
	for f, err := range x.Observer.Frames(ctx) {
		if err != nil {
			return nil
		}
		if t := f.Packet.Tuple(); t == flow || t == back {
			return nil
		}
	}
	return fmt.Errorf("there is nothing about %v %v, but no packet and no event was ever about it; if that is meant, call x.AllowVacuous", flow.Proto, flow)
}

// Expectations returns the expectations that helpers and rules ("ct expectation set") have in the table now.
func (x *Experiment) Expectations() []nf.Expectation {
	x.t.Helper()
	return proven(x, "Expectations", askAll(x, "Expectations", x.Observer.Expectations))
}

// Events returns the conntrack events since New, in the kernel's order. When Inject has returned, all events that its packets
// have caused are there. The test fails if events were lost.
func (x *Experiment) Events() []observe.Event {
	x.t.Helper()
	return proven(x, "Events", askAll(x, "Events", x.Observer.Events))
}

// Life returns the events of a flow since New, as observe.Life does:
//
//	[]string{"NEW SYN_SENT", "UPDATE SYN_RECV", "UPDATE ESTABLISHED [ASSURED]", "DESTROY"}
func (x *Experiment) Life(flow nf.Tuple) []string {
	x.t.Helper()
	life := observe.Life(x.Events(), flow)
	if len(life) == 0 {
		x.earned("Life", &flow)
	}
	return life
}

// Frames returns the packets captured on all links since New, in the order of time, all or those that one of ms matches. The
// test fails if one of ms names a link that is not there, or can match no packet (packet.Match.Check), or needs an Ethernet where all
// packets were captured on others, such as tuns: see AllowVacuous.
func (x *Experiment) Frames(ms ...packet.Match) []packet.Record {
	x.t.Helper()
	frames := ask(x, "Frames", func(ctx context.Context) ([]packet.Record, error) {
		for _, m := range ms {
			if err := x.Observer.CheckLinks(ctx, m.In, m.Out); err != nil {
				return nil, err
			}
			if err := m.Check(); err != nil {
				return nil, fmt.Errorf("nothing matches %v: %w", m, err)
			}
		}
		return collect(x.Observer.Frames(ctx))
	})
	if len(ms) > 0 {
		x.do("Frames", func(context.Context) error { return x.hasEthernet(frames, ms) })
		frames = slices.DeleteFunc(frames, func(r packet.Record) bool {
			return !slices.ContainsFunc(ms, func(m packet.Match) bool { return m.Match(r) })
		})
	}
	return proven(x, "Frames", frames)
}

// Reasons returns the log messages of conntrack about packets since New: why they were INVALID.
func (x *Experiment) Reasons() []observe.Reason {
	x.t.Helper()
	return proven(x, "Reasons", askAll(x, "Reasons", x.Observer.Reasons))
}

// Trace returns the rules that packets met since New, with their verdicts. It needs Config.Trace. The test fails if there are none, and
// the host has rules of iptables-legacy, which are not traced: see AllowVacuous.
func (x *Experiment) Trace() []observe.Step {
	x.t.Helper()
	steps := proven(x, "Trace", askAll(x, "Trace", x.Observer.Trace))
	if len(steps) == 0 {
		x.do("Trace", x.isTraced)
	}
	return steps
}

// Timeline returns everything recorded since New in the order of time: the frames, each with what conntrack did with its
// packet, and how each Inject has changed the counts.
func (x *Experiment) Timeline() observe.Timeline {
	x.t.Helper()
	return ask(x, "Timeline", x.Observer.Timeline)
}

// Await waits until cond is true, for events that happen after Inject has returned. The test fails with a message that
// contains what if that takes more than 30 s or until the test's deadline, and at once if a program in the namespace has
// failed (netnsenv.Env.Failed). For longer waits use Lab.Await.
func (x *Experiment) Await(what string, cond func() bool) {
	x.t.Helper()
	x.do("Await "+what, func(ctx context.Context) error {
		ctx, cancel := patience.WithTimeout(ctx, time.Duration(defaultTimeout), defaultTimeout)
		defer cancel()
		return x.Lab.Await(ctx, func() (bool, error) { return cond(), nil })
	})
}

// AwaitListen waits until a socket of the host listens on the port, as netnsenv.Env.AwaitListen does: network is "tcp",
// "udp" or one of them with a 4 or 6. The limits are those of Await.
func (x *Experiment) AwaitListen(network string, port uint16) {
	x.t.Helper()
	x.do(fmt.Sprintf("AwaitListen %s %d", network, port), func(ctx context.Context) error {
		ctx, cancel := patience.WithTimeout(ctx, time.Duration(defaultTimeout), defaultTimeout)
		defer cancel()
		return x.Env.AwaitListen(ctx, network, port)
	})
}

// Await calls cond until it returns true: at once, then at intervals that grow from one to fifty milliseconds. It returns
// nil, the error that cond returns, or the context's cause when the context is done. Lab.Await reacts faster.
func Await(ctx context.Context, cond func() (bool, error)) error {
	return await(ctx, func() <-chan struct{} { return nil }, cond)
}

// Await calls cond until it returns true: at once, after each conntrack event, and, since not every change is an event, at
// intervals that grow from one to fifty milliseconds. It returns nil, the error that cond returns, that of
// netnsenv.Env.Failed, or the context's cause when the context is done.
func (l *Lab) Await(ctx context.Context, cond func() (bool, error)) error {
	return await(ctx, l.Observer.NextEvent, func() (bool, error) {
		ok, err := cond()
		if !ok && err == nil {
			err = l.Env.Failed()
		}
		return ok, err
	})
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
