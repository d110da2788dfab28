package ctexp

import (
	"context"
	"errors"
	"iter"
	"os"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
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
	flows     []nf.Entry
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
	s.flows, s.flowsErr = collect(l.Observer.Flows(ctx, nf.Filter{}))
	s.record, s.recordErr = l.Observer.Record(ctx)
	return s
}

// fullSnapshot also reads what only a report needs. Listing the rules executes programs and comes last, so that a failure
// near the test's deadline is reported without it.
func (l *Lab) fullSnapshot(ctx context.Context) snapshot {
	s := l.snapshot(ctx)
	s.stats, s.statsErr = l.Observer.Stats(ctx)
	s.rules, s.rulesErr = l.Observer.Rules(ctx)
	s.listings, s.listErrs = ruleset.Listings(s.rules, func(name string, args ...string) ([]byte, error) {
		return l.Env.Command(ctx, name, args...).Output()
	})
	return s
}

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
