package ctexp

import (
	"context"
	"errors"
	"io/fs"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

// Flow returns the entry that has flow as one of its tuples, in zone 0: the zero Entry if the table
// has none.
func (x *Experiment) Flow(flow nf.Tuple) nf.Entry {
	x.t.Helper()
	return ask(x, "Flow", func(ctx context.Context) (nf.Entry, error) {
		e, err := x.Observer.Get(ctx, flow, 0)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return e, err
	})
}

// Expectations returns the flows that helpers and rules ("ct expectation set") expect now.
func (x *Experiment) Expectations() []nf.Expectation {
	x.t.Helper()
	return askAll(x, "Expectations", x.Observer.Expectations)
}

// Stats returns what conntrack has counted since New.
func (x *Experiment) Stats() observe.Stats { x.t.Helper(); return ask(x, "Stats", x.Observer.Stats) }
