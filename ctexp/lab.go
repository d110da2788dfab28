package ctexp

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

// Lab is a namespace to experiment in with everything wired together, for programs; tests have Experiment. Its parts
// may be used from any goroutine; Close ends them all.
type Lab struct {
	Env      *netnsenv.Env
	Observer *observe.Observer
	// Inbox has what the host under test has sent by its links and nobody has taken yet.
	Inbox *inject.Inbox

	opened time.Time
	sent   atomic.Uint64 // packets that were injected
}

// took is how long the Lab has been open.
func (l *Lab) took() time.Duration { return time.Since(l.opened) }

// Open opens an Env and an Observer that has counted nothing yet. What this machine cannot do answers to
// errors.ErrUnsupported.
func Open(ctx context.Context, cfg netnsenv.Config) (*Lab, error) {
	env, err := netnsenv.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	lab, err := Watch(ctx, env, observe.Config{NoFrames: cfg.NoFrames, NoEvents: cfg.NoEvents})
	if err != nil {
		return nil, errors.Join(err, env.Close())
	}
	return lab, nil
}

// Close closes the Observer and the Env.
func (l *Lab) Close() error { return errors.Join(l.Observer.Close(), l.Env.Close()) }
