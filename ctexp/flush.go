package ctexp

import (
	"context"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Flush deletes the entries that the filter selects, all if it is zero, and returns how many. The Observer hears of each:
// its events are taken while it goes on, so that none are lost.
func (l *Lab) Flush(ctx context.Context, f nf.Filter) (int, error) {
	return l.Env.Table().FlushWith(ctx, f, l.Observer.Drain)
}

// Flush deletes the entries of the table, all or those that one of the filters selects, and returns how many.
func (x *Experiment) Flush(filters ...nf.Filter) int {
	x.t.Helper()
	if len(filters) == 0 {
		filters = []nf.Filter{{}}
	}
	return ask(x, "Flush", func(ctx context.Context) (int, error) {
		deleted := 0
		for _, f := range filters {
			n, err := x.Lab.Flush(ctx, f)
			if deleted += n; err != nil {
				return deleted, err
			}
		}
		return deleted, nil
	})
}
