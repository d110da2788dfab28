package observe

import (
	"errors"
	"iter"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Record is all that an Observer has recorded, read once.
type Record struct {
	Frames  []Frame
	Reasons []Reason
	// Unexplained are packets that conntrack called INVALID without a reason, with NoReason for the text: those that came in
	// or left as one of Frames.
	Unexplained []Reason
	Steps       []Step
	Events      []Event
	// Drops are the packets that the kernel threw away, where the Observer has somebody to tell them (ExplainBy).
	Drops []nf.Dropped
	// Missing says what of these could not be had, or not all of it, and why: "reasons: needs …". What was never to be had,
	// because the namespace or the Config does without, answers to errors.ErrUnsupported.
	Missing []error

	marks []mark
}

// Timeline puts what is recorded in the order of time: the frames, below each of them what conntrack said about its packet
// and which rules that met and why the kernel threw it away, the events of the table, and how the counts have changed.
func (r Record) Timeline() Timeline {
	together, rest := behindFrames(frameMoments(r.Frames),
		reasonMoments(r.Frames, r.Reasons), unexplainedMoments(r.Frames, r.Unexplained), stepMoments(r.Frames, r.Steps), dropMoments(r.Frames, r.Drops))
	lists := append([][]Moment{together, eventMoments(r.Frames, r.Events)}, rest...)
	t := Timeline{Moments: merge(append(lists, countMoments(r.marks))...)}
	for _, err := range r.Missing {
		t.Missing = append(t.Missing, err.Error())
	}
	return t
}

// gather collects what a sequence yields until it fails. Why it failed is put down as missing in the Record; it is an
// error only if there was something to be had.
func gather[T any](r *Record, seq iter.Seq2[T, error]) (all []T, err error) {
	for v, e := range seq {
		if e != nil {
			err = e
			break
		}
		all = append(all, v)
	}
	if err != nil {
		r.Missing = append(r.Missing, err)
	}
	if errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return all, err
}
