package ctexp

import (
	"context"
	"errors"
	"fmt"
	"iter"
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

// Inject sends packets by the first link of the Env and returns how many were sent, when the kernel is done with all of them.
func (l *Lab) Inject(ctx context.Context, packets iter.Seq[inject.Packet]) (int, error) {
	links := l.Env.Links()
	if len(links) == 0 {
		return 0, errors.New("ctexp: inject: the Env has no link")
	}
	return l.inject(ctx, links[0], packets)
}

// InjectBy is Inject by the link of that name.
func (l *Lab) InjectBy(ctx context.Context, link string, packets iter.Seq[inject.Packet]) (int, error) {
	to := l.Env.Link(link)
	if to == nil {
		return 0, fmt.Errorf("ctexp: inject: the Env has no link %q", link)
	}
	return l.inject(ctx, to, packets)
}

// inject lets the Observer take what it has seen once in a while, so that no buffer of the kernel runs over; behind each of
// the first packets, so that what the Observer hears of them has its place among them in the Timeline.
func (l *Lab) inject(ctx context.Context, link *netnsenv.Link, packets iter.Seq[inject.Packet]) (int, error) {
	const often = 64 // by default the buffers of an ordinary user hold 300 events or frames, of which a packet may make several
	if packets == nil {
		return 0, errors.New("ctexp: inject: the sequence is nil")
	}
	var lost error // of what the host has sent meanwhile
	sent, err := inject.New(link).Send(ctx, func(yield func(inject.Packet) bool) {
		n := 0
		for p := range packets {
			if n++; n > 1 && n <= often || n%often == 0 {
				l.Observer.Drain()
				if lost == nil {
					lost = l.Inbox.Drain()
				}
			}
			if !yield(p) {
				return
			}
		}
	})
	err = errors.Join(err, lost)
	l.sent.Add(uint64(sent))
	what := "1 packet"
	if sent != 1 {
		what = fmt.Sprintf("%d packets", sent)
	}
	l.Observer.Mark(ctx, fmt.Sprintf("%s by %s", what, link.Name()))
	return sent, err
}

// Close closes the Observer and the Env.
func (l *Lab) Close() error { return errors.Join(l.Observer.Close(), l.Env.Close()) }
