package observe

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Record returns everything recorded since the Observer was opened, each part as Frames, Reasons, Trace and Events
// return it. If something was lost, Record.Missing names it and the error includes it (ErrFramesLost, ErrEventsLost
// and so on); the Record has the rest.
func (o *Observer) Record(ctx context.Context) (Record, error) { return o.RecordFirst(ctx, 0) }

// RecordFirst is Record with at most n frames, reasons, steps, events and drops each, the first ones, so that it costs the same
// however much was recorded. Record.Missing has a CutError for each part that has more. With n = 0 it is Record.
func (o *Observer) RecordFirst(ctx context.Context, n int) (Record, error) {
	r, err := o.record(ctx, n)
	if err != nil {
		return r, fmt.Errorf("record: %w", err)
	}
	return r, nil
}

// Timeline returns what happened since the Observer was opened: the frames, each followed by what conntrack logged
// about its packet and the rules that the packet met, the events of the table, and the changes of the counts from
// Mark to Mark and until now.
//
// Timeline.Missing names what the namespace or the Config does not provide. If something was lost, Missing names it
// as well and the error includes it (ErrFramesLost, ErrEventsLost and so on); the Timeline has the rest.
func (o *Observer) Timeline(ctx context.Context) (Timeline, error) {
	r, err := o.record(ctx, 0)
	if err != nil {
		return r.Timeline(), fmt.Errorf("timeline: %w", err)
	}
	return r.Timeline(), nil
}

func (o *Observer) record(ctx context.Context, first int) (Record, error) {
	release, err := o.use(ctx)
	if err != nil {
		return Record{}, err
	}
	release()
	marks, beyond := o.marks.snapshot()
	marks = append(marks, o.takeMark(ctx, "")) // first, because it is quick
	var r Record
	if o.output != nil {
		for at, text := range o.output() {
			r.Output = append(r.Output, Output{at, text})
		}
	}
	var errFrames, errReasons, errSteps, errEvents error
	r.Frames, errFrames = collect(&r, PartFrames, o.Frames(ctx), first)
	if o.capture != nil {
		n := len(r.Frames)
		if cut := r.Cut(PartFrames); cut != nil {
			n = cut.Of
		}
		kept, _ := o.capture.log.snapshot()
		r.all = kept.first(n) // not those that came since
	}
	r.Reasons, errReasons = collect(&r, PartReasons, o.Reasons(ctx), first)
	if o.reasons != nil && !r.isCut(PartReasons) {
		called, missing := o.reasons.log.invalidPackets()
		r.Unexplained = unexplained(r.Frames, r.Reasons, called)
		if missing > 0 {
			err := fmt.Errorf("invalid: %d packets that conntrack called INVALID were lost: the receive buffer was full", missing)
			r.Missing = append(r.Missing, Missing{PartUnexplained, err})
		}
	}
	r.Steps, errSteps = collect(&r, PartTrace, o.Trace(ctx), first)
	r.Events, errEvents = o.collectEvents(ctx, &r, first)
	if r.Drops, err = o.readDropSource(ctx); err != nil {
		r.Missing = append(r.Missing, Missing{PartDrops, err})
	}
	if n := len(r.Drops); first > 0 && n > first {
		r.Drops = r.Drops[:first:first]
		r.Missing = append(r.Missing, Missing{PartDrops, &CutError{PartDrops, first, n}})
	}
	if beyond > 0 {
		err := fmt.Errorf("counts: the last %d of %d marks were not stored", beyond, beyond+len(marks)-1)
		r.Missing = append(r.Missing, Missing{PartCounts, err})
	}
	if err := ctx.Err(); err != nil {
		return Record{}, err
	}
	r.marks = marks
	return r, errors.Join(errFrames, errReasons, errSteps, errEvents, err)
}

// collectEvents is collect for events, which are decoded one by one: only the first ones are.
func (o *Observer) collectEvents(ctx context.Context, r *Record, first int) ([]Event, error) {
	if first == 0 || o.events.log == nil {
		return collect(r, PartEvents, o.Events(ctx), 0)
	}
	_, lost := o.events.log.snapshot()
	n := o.events.log.count()
	if n <= first {
		return collect(r, PartEvents, o.Events(ctx), 0)
	}
	events := make([]Event, 0, first)
	var err error
	for e, failed := range o.Events(ctx) {
		if err = failed; err != nil || len(events) == first {
			break
		}
		events = append(events, e)
	}
	if err == nil && lost != (lostEvents{}) {
		err = fmt.Errorf("events: %w: %v", ErrEventsLost, lost)
	}
	r.Missing = append(r.Missing, Missing{PartEvents, errors.Join(&CutError{PartEvents, first, n}, err)})
	return events, err
}

// Mark reads the counts and records them for the Timeline together with what just happened: "10 packets by tun0". A
// Lab calls it after injecting. It takes a tenth of a millisecond, and does nothing once there are a thousand marks.
func (o *Observer) Mark(ctx context.Context, what string) {
	if o.marks.full() {
		return
	}
	o.Drain()
	o.marks.add(o.takeMark(ctx, what))
	o.Drain() // so that later frames are known to be later than the mark (see stamps)
}

// takeMark returns a mark. With a filler that can be evicted, counting is slow and therefore omitted.
func (o *Observer) takeMark(ctx context.Context, what string) mark {
	m := mark{what: what}
	if !o.cfg.Unreplied {
		m.tally, m.err = o.Tally(ctx)
		m.counted = m.err == nil
	}
	m.time = time.Now()
	return m
}
