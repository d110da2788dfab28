package ctexp

import (
	"context"
	"errors"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

// Join joins the Env of the Lab to another's by a wire, as netnsenv.Join does. What one of them injects is done in both, and
// seen by both Observers, when Inject returns.
func (l *Lab) Join(ctx context.Context, other *Lab, w netnsenv.Wire) error {
	if other == nil {
		return errors.New("ctexp: join: the other Lab is nil")
	}
	return netnsenv.Join(ctx, l.Env, other.Env, w)
}

// Join joins the experiment's host to another's by a wire, the first end of which is here: see netnsenv.Join.
func (x *Experiment) Join(other *Experiment, w netnsenv.Wire) {
	x.t.Helper()
	x.do("Join", func(ctx context.Context) error {
		if other == nil {
			return errors.New("the other Experiment is nil")
		}
		return x.Lab.Join(ctx, other.Lab, w)
	})
}
