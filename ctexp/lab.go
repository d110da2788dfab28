package ctexp

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/peer"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// Lab is a namespace to experiment in with everything wired together, for programs; tests have Experiment. Its parts
// may be used from any goroutine; Close ends them all.
type Lab struct {
	Env      *netnsenv.Env
	Observer *observe.Observer
	// Inbox has what the host under test has sent by its links and nobody has taken yet.
	Inbox *peer.Inbox

	opened time.Time
	sent   atomic.Uint64 // packets that were injected
}

// Main runs the tests of a package, as root of namespaces of its own (netnsenv.Enter). Call it from TestMain with the
// *testing.M; it does not return. Flags, input, output, signals and the exit status are what they are without it, and
// where no namespaces can be had the tests that need them skip.
func Main(m interface{ Run() int }) {
	netnsenv.Enter()
	os.Exit(m.Run())
}

// table returns the Env's table, with the Observer as its Watcher.
func (l *Lab) table(ctx context.Context) *netnsenv.Table {
	return l.Env.Table().WatchedBy(netnsenv.Watcher{
		Drain: l.Observer.Drain,
		Entries: func(f nf.Filter) ([]nf.Entry, error) {
			entries, err := collect(l.Observer.Flows(ctx, f))
			if unknown := (*nfnl.UnknownError)(nil); errors.As(err, &unknown) {
				err = nil // attributes of later kernels are not needed
			}
			return entries, err
		},
	})
}

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

// Watch makes a Lab of an Env that is open already. Its Observer has counted nothing yet, so that one Env, with a table
// that took its time to be filled, serves many experiments one after the other. How frames are captured and events
// recorded is cfg's to say (NoFrames, MaxFrames, Ring, NoEvents, MaxEvents, EventBuffer); all else follows from the Env.
//
// Close closes the Env, too; the Observer's own Close leaves it open for the next Watch.
func Watch(ctx context.Context, env *netnsenv.Env, cfg observe.Config) (*Lab, error) {
	room, is := env.Room(), env.Config()
	cfg.Probes, cfg.Path, cfg.Silent = is.Probes, env.PathProbes(), is.Silent
	cfg.Filler, cfg.Unreplied = room.Filler, room.Unreplied
	cfg.Limit, cfg.Free = limitToWatch(room), room.Free
	inbox, err := emptyInbox(ctx, env)
	if err != nil {
		return nil, err
	}
	opened := time.Now() // before anything is recorded: what happens while it opens is no earlier
	obs, err := observe.Open(ctx, env, cfg)
	if err != nil {
		return nil, err
	}
	return &Lab{Env: env, Observer: obs, Inbox: inbox, opened: opened}, nil
}

// emptyInbox returns an Inbox without what was left unread before.
func emptyInbox(ctx context.Context, env *netnsenv.Env) (*peer.Inbox, error) {
	var links []peer.Link
	for _, l := range env.Links() {
		links = append(links, l)
	}
	inbox := peer.NewInbox(links...)
	_, err := inbox.Received(ctx)
	return inbox, err
}

// limitToWatch is the limit that must stay what it is: any where no room was asked for.
func limitToWatch(r netnsenv.RoomInfo) int {
	if r.Free < 0 {
		return 0
	}
	return r.Limit
}

// took is how long the Lab has been open.
func (l *Lab) took() time.Duration { return time.Since(l.opened) }

// Age makes the conntrack table older by d at once and returns how many entries came to their end by it: see
// netnsenv.Env.Age, also for what does not age. The Observer hears of each that ends, as if it had ended by itself; of the
// others' new times it hears nothing.
func (l *Lab) Age(ctx context.Context, d time.Duration, filters ...nf.Filter) (int, error) {
	n, err := l.table(ctx).Age(ctx, d, filters...)
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

// Flush deletes the entries of the table, all or those that one of the filters selects, and returns how many. The Observer
// hears of each: its events are taken while it goes on, so that none are lost.
func (l *Lab) Flush(ctx context.Context, filters ...nf.Filter) (int, error) {
	if len(filters) == 0 {
		filters = []nf.Filter{{}}
	}
	deleted := 0
	for _, f := range filters {
		n, err := l.table(ctx).Flush(ctx, f)
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

// Load loads rules in their order, as Config.Rules are, for those that come or change in the middle of an experiment:
//
//	x.Load(netnsenv.NFTables(func(c *nftables.Conn) error { c.DelTable(policy); return nil }))
func (x *Experiment) Load(rules ...netnsenv.Ruleset) {
	x.t.Helper()
	x.do("Load", func(ctx context.Context) error {
		for i, r := range rules {
			if r == nil {
				panic(fmt.Sprintf("ctexp: Load: ruleset %d is nil", i+1))
			}
			if err := r.Load(ctx, x.Env); err != nil {
				return err
			}
		}
		return nil
	})
}

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
