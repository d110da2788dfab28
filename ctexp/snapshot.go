package ctexp

import (
	"context"
	"errors"
	"iter"
	"os"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/internal/report"
	"github.com/ctexp/go-ctexp/internal/ruleset"
)

// snapshot has what the Observer of a Lab reports at one time, each part with the error of reading it.
type snapshot struct {
	cfg       netnsenv.Config
	path      observe.Path
	pathErr   error
	tally     observe.Tally
	tallyErr  error
	stats     observe.Stats
	statsErr  error
	flows     []nf.Entry // all, or some of them
	entries   int        // of the table, if flows has some only
	flowsErr  error
	rules     []observe.Rule
	rulesErr  error
	record    observe.Record    // its Missing lists the parts that could not be read
	recordErr error             // what was lost of the record
	listings  []ruleset.Listing // of the rules, by nft and iptables
	listErrs  []error
}

// snapshot reads the parts from which fates are determined. The record is read last, so that it includes what reading the
// others causes.
func (l *Lab) snapshot(ctx context.Context) (s snapshot) {
	s.cfg = l.Env.Config()
	s.path, s.pathErr = l.Observer.Path(ctx)
	s.tally, s.tallyErr = l.Observer.Tally(ctx)
	s.flows, s.flowsErr = l.Observer.SortedFlows(ctx, nf.Filter{})
	s.record, s.recordErr = l.Observer.Record(ctx)
	return s
}

// maxReported is how many frames, events and flows a report is about: so it takes less than a second and about 50 MiB whatever
// the traffic was. capture.pcapng has all frames.
const maxReported = 5000

// reportSnapshot reads what a report needs, and no more than it shows. First comes what lies in memory, then what the kernel is
// asked for. Listing the rules executes programs and comes last, so that a failure near the test's deadline is reported
// without it.
func (l *Lab) reportSnapshot(ctx context.Context) (s snapshot) {
	s.record, s.recordErr = l.Observer.RecordFirst(ctx, maxReported)
	s.path, s.pathErr = l.Observer.Path(ctx)
	s.tally, s.tallyErr = l.Observer.Tally(ctx)
	s.flows, s.entries, s.flowsErr = l.someFlows(ctx, maxReported)
	s.stats, s.statsErr = l.Observer.Stats(ctx)
	s.rules, s.rulesErr = l.Observer.Rules(ctx)
	s.listings, s.listErrs = ruleset.Listings(s.rules, func(name string, args ...string) ([]byte, error) {
		return l.Env.Command(ctx, name, args...).Output()
	})
	return s
}

// someFlows returns the flows in order, or some of them if there are more than most, and then how many there are.
func (l *Lab) someFlows(ctx context.Context, most int) (some []nf.Entry, entries int, err error) {
	if entries, err = l.Observer.Count(ctx); err != nil || entries <= most {
		some, err = l.Observer.SortedFlows(ctx, nf.Filter{})
		return some, 0, err
	}
	some = make([]nf.Entry, 0, most)
	for e, err := range l.Observer.Flows(ctx, nf.Filter{}) {
		if err != nil {
			return some, entries, err
		}
		if some = append(some, e); len(some) == most {
			break
		}
	}
	return some, entries, nil
}

// flowsMissing returns why flows are missing.
func (snap snapshot) flowsMissing() error {
	if snap.flowsErr != nil || snap.entries <= len(snap.flows) {
		return snap.flowsErr
	}
	return &observe.CutError{Part: report.PartFlows, Kept: len(snap.flows), Of: snap.entries}
}

// isPartial reports whether the table may have other flows than those of the snapshot.
func (snap snapshot) isPartial() bool { return snap.flowsMissing() != nil }

// lacks returns why a part of the record is missing or incomplete.
func (snap snapshot) lacks(part observe.RecordPart) error {
	if len(snap.record.Missing) == 0 {
		return snap.recordErr // nothing was read
	}
	return snap.record.Lacks(part)
}

// closed returns the error of a Lab that is closed; nil if it is open.
func (snap snapshot) closed() error {
	for _, err := range []error{snap.tallyErr, snap.flowsErr, snap.recordErr} {
		if errors.Is(err, os.ErrClosed) {
			return err
		}
	}
	return nil
}

// since returns snap without what is already in before, an earlier snapshot of the same Lab: the difference of the counts, and
// what was recorded later.
func (snap snapshot) since(before snapshot) snapshot {
	snap.path, snap.tally = snap.path.Sub(before.path), snap.tally.Sub(before.tally)
	now, then := &snap.record, before.record
	now.Frames = later(now.Frames, then.Frames)
	now.Reasons = later(now.Reasons, then.Reasons)
	now.Unexplained = later(now.Unexplained, then.Unexplained)
	now.Steps = later(now.Steps, then.Steps)
	now.Events = later(now.Events, then.Events)
	now.Drops = later(now.Drops, then.Drops)
	now.Output = later(now.Output, then.Output)
	return snap
}

// later returns what was appended to before.
func later[T any](all, before []T) []T { return all[min(len(before), len(all)):] }

// collect returns the values of a sequence up to its first error.
func collect[T any](seq iter.Seq2[T, error]) (all []T, err error) {
	for v, err := range seq {
		if err != nil {
			return all, err
		}
		all = append(all, v)
	}
	return all, nil
}
