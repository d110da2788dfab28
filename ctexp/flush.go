package ctexp

import (
	"context"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Flush deletes the entries of the table, all or those that one of the filters selects, and returns how many. The Observer
// hears of each: its events are taken while it goes on, so that none are lost.
func (l *Lab) Flush(ctx context.Context, filters ...nf.Filter) (int, error) {
	if len(filters) == 0 {
		filters = []nf.Filter{{}}
	}
	deleted := 0
	for _, f := range filters {
		n, err := l.Env.Table().FlushWith(ctx, f, l.Observer.Drain)
		if deleted += n; err != nil {
			return deleted, err
		}
	}
	return deleted, nil
}

// Flush deletes the entries of the table, all or those that one of the filters selects, and returns how many.
func (x *Experiment) Flush(filters ...nf.Filter) int {
	x.t.Helper()
	return ask(x, "Flush", func(ctx context.Context) (int, error) { return x.Lab.Flush(ctx, filters...) })
}
