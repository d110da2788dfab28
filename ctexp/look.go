package ctexp

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
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
	record    observe.Record // its Missing says what it lacks
	recordErr error          // what of it was lost
	texts     []rulesetText  // of the rules
	textErrs  []error
}

// look asks the Observer. The record comes last, so that what conntrack is asked for is in it.
func (l *Lab) look(ctx context.Context) (k look) {
	k.path, k.pathErr = l.Observer.Path(ctx)
	k.tally, k.tallyErr = l.Observer.Tally(ctx)
	k.stats, k.statsErr = l.Observer.Stats(ctx)
	k.flows, k.flowsErr = collect(l.Observer.Flows(ctx, nf.Filter{}))
	k.rules, k.rulesErr = l.Observer.Rules(ctx)
	k.texts, k.textErrs = l.rulesetTexts(ctx, k.rules)
	k.record, k.recordErr = l.Observer.Record(ctx)
	return k
}

// lacks returns why a part of the record could not be had, or not whole: "frames", "reasons", "trace" or "events".
func (k look) lacks(part string) error {
	if len(k.record.Missing) == 0 {
		return k.recordErr // not even begun
	}
	for _, err := range k.record.Missing {
		if what, _, _ := strings.Cut(err.Error(), ":"); what == part {
			return err
		}
	}
	return nil
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
