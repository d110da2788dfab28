package ctexp

import (
	"context"
	"errors"
	"iter"
	"os"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/internal/ruleset"
)

// look is all that the Observer of a Lab tells, each part asked for once, with why it could not be had.
type look struct {
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
	record    observe.Record    // its Missing says what it lacks
	recordErr error             // what of it was lost
	listings  []ruleset.Listing // of the rules
	listErrs  []error
}

// look asks the Observer for what fates are worked out from. The record comes last, so that what conntrack is asked for is
// in it.
func (l *Lab) look(ctx context.Context) (k look) {
	k.path, k.pathErr = l.Observer.Path(ctx)
	k.tally, k.tallyErr = l.Observer.Tally(ctx)
	k.flows, k.flowsErr = collect(l.Observer.Flows(ctx, nf.Filter{}))
	k.record, k.recordErr = l.Observer.Record(ctx)
	return k
}

// lookAtAll is look with what else a report has. The rules come last: to list them takes programs, and a failure near the
// test's deadline should explain itself without them.
func (l *Lab) lookAtAll(ctx context.Context) look {
	k := l.look(ctx)
	k.stats, k.statsErr = l.Observer.Stats(ctx)
	k.rules, k.rulesErr = l.Observer.Rules(ctx)
	k.listings, k.listErrs = ruleset.Listings(k.rules, func(name string, args ...string) ([]byte, error) {
		return l.Env.Command(ctx, name, args...).Output()
	})
	return k
}

// lacks returns why a part of the record could not be had, or not whole.
func (k look) lacks(part observe.RecordPart) error {
	if len(k.record.Missing) == 0 {
		return k.recordErr // not even begun
	}
	return k.record.Lacks(part)
}

// closed returns why nothing can be had any more of a Lab that is closed; nil if it is open.
func (k look) closed() error {
	for _, err := range []error{k.tallyErr, k.flowsErr, k.recordErr} {
		if errors.Is(err, os.ErrClosed) {
			return err
		}
	}
	return nil
}

// since returns what is in k and not in before, which is the earlier one of the same Lab: of the path the difference, of the
// record what was recorded later.
func (k look) since(before look) look {
	d := k
	d.path, d.tally = k.path.Sub(before.path), k.tally.Sub(before.tally)
	d.record.Frames = k.record.Frames[min(len(before.record.Frames), len(k.record.Frames)):]
	d.record.Reasons = k.record.Reasons[min(len(before.record.Reasons), len(k.record.Reasons)):]
	d.record.Unexplained = k.record.Unexplained[min(len(before.record.Unexplained), len(k.record.Unexplained)):]
	d.record.Steps = k.record.Steps[min(len(before.record.Steps), len(k.record.Steps)):]
	d.record.Events = k.record.Events[min(len(before.record.Events), len(k.record.Events)):]
	d.record.Drops = k.record.Drops[min(len(before.record.Drops), len(k.record.Drops)):]
	return d
}

// collect returns what a sequence yields until it fails.
func collect[T any](seq iter.Seq2[T, error]) (all []T, err error) {
	for v, err := range seq {
		if err != nil {
			return all, err
		}
		all = append(all, v)
	}
	return all, nil
}
