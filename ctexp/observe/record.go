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
	// Missing says which of these could not be had, or not all of them, and why.
	Missing []Missing

	marks []mark
}

// Missing says why a part of a Record could not be had, or not all of it.
type Missing struct {
	Part RecordPart
	// Err names the part: "reasons: needs …". It answers to errors.ErrUnsupported if the part was never to be had, because
	// the namespace or the Config does without it.
	Err error
}

// RecordPart is a part of a Record.
type RecordPart string

// The parts of a Record.
const (
	PartFrames      RecordPart = "frames"
	PartReasons     RecordPart = "reasons"
	PartUnexplained RecordPart = "invalid"
	PartTrace       RecordPart = "trace"
	PartEvents      RecordPart = "events"
	PartDrops       RecordPart = "drops"
	PartCounts      RecordPart = "counts" // how the counts have changed from mark to mark
)

// Lacks returns why a part is not there, or not whole; nil if it is.
func (r Record) Lacks(part RecordPart) error {
	for _, m := range r.Missing {
		if m.Part == part {
			return m.Err
		}
	}
	return nil
}

// Timeline puts what is recorded in the order of time: the frames, below each of them what conntrack said about its packet
// and which rules that met and why the kernel threw it away, the events of the table, and how the counts have changed.
func (r Record) Timeline() Timeline {
	together, rest := behindFrames(frameMoments(r.Frames),
		reasonMoments(r.Frames, r.Reasons), unexplainedMoments(r.Frames, r.Unexplained), stepMoments(r.Frames, r.Steps), dropMoments(r.Frames, r.Drops))
	lists := append([][]Moment{together, eventMoments(r.Frames, r.Events)}, rest...)
	t := Timeline{Moments: merge(append(lists, countMoments(r.marks))...)}
	for _, m := range r.Missing {
		t.Missing = append(t.Missing, m.Err.Error())
	}
	return t
}

// gather collects what a sequence yields until it fails. Why it failed is put down as missing in the Record; it is an
// error only if there was something to be had.
func gather[T any](r *Record, part RecordPart, seq iter.Seq2[T, error]) (all []T, err error) {
	for v, e := range seq {
		if e != nil {
			err = e
			break
		}
		all = append(all, v)
	}
	if err != nil {
		r.Missing = append(r.Missing, Missing{part, err})
	}
	if errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return all, err
}
