package observe

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Timeline returns what has happened since the Observer was opened: the frames, below each of them what conntrack said
// about its packet and which rules that met, the events of the table, and how the counts have changed from Mark to Mark
// and until now.
//
// What the namespace or the Config does without is named in the Timeline's Missing. Where something was lost, it is named
// there, too, and the error says so (ErrFramesLost, ErrEventsLost and so on); the Timeline then has the rest.
func (o *Observer) Timeline(ctx context.Context) (Timeline, error) {
	t, err := o.timeline(ctx)
	if err != nil {
		return t, fmt.Errorf("timeline: %w", err)
	}
	return t, nil
}

func (o *Observer) timeline(ctx context.Context) (Timeline, error) {
	release, err := o.use(ctx)
	if err != nil {
		return Timeline{}, err
	}
	release()
	var t Timeline
	marks, beyond := o.marks.snapshot()
	marks = append(marks, o.marked(ctx, "")) // first of all, because it is quick
	frames, errFrames := gather(&t, o.Frames(ctx))
	reasons, errReasons := gather(&t, o.Reasons(ctx))
	steps, errSteps := gather(&t, o.Trace(ctx))
	events, errEvents := gather(&t, o.Events(ctx))
	if beyond > 0 {
		t.Missing = append(t.Missing, fmt.Sprintf("counts: the last %d of %d marks were too many", beyond, beyond+len(marks)-1))
	}
	if err := ctx.Err(); err != nil {
		return Timeline{}, err
	}
	together, rest := behindFrames(frameMoments(frames), reasonMoments(frames, reasons), stepMoments(frames, steps))
	lists := append([][]Moment{together, eventMoments(frames, events)}, rest...)
	t.Moments = merge(append(lists, countMoments(marks))...)
	return t, errors.Join(errFrames, errReasons, errSteps, errEvents)
}

// Mark counts and remembers, for the Timeline, that what has just happened: "10 packets by tun0". A Lab does so when it
// has injected something. It costs a tenth of a millisecond, and nothing once there are a thousand marks.
func (o *Observer) Mark(ctx context.Context, what string) {
	if o.marks.full() {
		return
	}
	o.Drain()
	o.marks.add(o.marked(ctx, what))
	o.Drain() // so that what comes next is known to come behind the mark (see stamps)
}

// marked returns a mark. A filler that can be evicted makes counting slow, so that it is left.
func (o *Observer) marked(ctx context.Context, what string) mark {
	m := mark{what: what}
	if !o.cfg.Unreplied {
		m.tally, m.err = o.Tally(ctx)
		m.counted = m.err == nil
	}
	m.time = time.Now()
	return m
}
