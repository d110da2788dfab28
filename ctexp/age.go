package ctexp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// Age makes the conntrack table older by d at once and returns how many entries came to their end by it: see
// netnsenv.Env.Age, also for what does not age. The Observer hears of each that ends, as if it had ended by itself; of the
// others' new times it hears nothing.
func (l *Lab) Age(ctx context.Context, d time.Duration, filters ...nf.Filter) (int, error) {
	n, err := l.Env.Table().AgeWith(ctx, d, func(f nf.Filter) ([]nf.Entry, error) {
		entries, err := collect(l.Observer.Flows(ctx, f))
		if unknown := (*nfnl.UnknownError)(nil); errors.As(err, &unknown) {
			err = nil // what a later kernel tells beside is not needed
		}
		return entries, err
	}, l.Observer.Drain, filters...)
	l.Observer.Mark(ctx, fmt.Sprintf("aged by %v", d))
	return n, err
}

// Age makes the table older by d at once, all entries or those that one of the filters selects, and returns how many came
// to their end by it:
//
//	x.Age(121 * time.Second) // no TIME_WAIT is left
func (x *Experiment) Age(d time.Duration, filters ...nf.Filter) int {
	x.t.Helper()
	return ask(x, "Age", func(ctx context.Context) (int, error) { return x.Lab.Age(ctx, d, filters...) })
}
