package ctexp

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/peer"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// Lab is an Env with an Observer and an Inbox, for programs; tests use Experiment. Its parts may be used from any
// goroutine; Close closes them all.
type Lab struct {
	// Env is the network namespace with its links and rules.
	Env *netnsenv.Env
	// Observer reports what has happened in the namespace since the Lab was opened.
	Observer *observe.Observer
	// Inbox has the packets that the host under test has sent on its links and that were not taken yet.
	Inbox *peer.Inbox

	opened time.Time
	sent   atomic.Uint64 // injected packets
}

// Open opens an Env, and an Observer whose counts begin at zero. If this machine cannot do what cfg asks for, the error is
// an errors.ErrUnsupported.
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

// Watch makes a Lab of an Env that is already open. The counts of its Observer begin at zero, so that one Env, whose table
// takes time to fill, serves many experiments one after the other: close the Observer, call Env.Refill, which also says what
// it leaves, and Watch again. Of cfg it uses how frames are captured and events
// recorded (NoFrames, MaxFrames, Ring, NoEvents, MaxEvents, EventBuffer); everything else follows from the Env.
//
// Closing the Lab closes the Env; closing only its Observer leaves the Env open for the next Watch.
func Watch(ctx context.Context, env *netnsenv.Env, cfg observe.Config) (*Lab, error) {
	room, opened := env.Room(), env.Config()
	cfg.Probes, cfg.Path, cfg.Silent = opened.Probes, env.PathProbes(), opened.Silent
	cfg.Filler, cfg.Unreplied = room.Filler, room.Unreplied
	cfg.Limit, cfg.Free, cfg.Exclusive = limitToWatch(room), room.Free, true
	inbox, err := emptyInbox(ctx, env)
	if err != nil {
		return nil, err
	}
	lab := &Lab{Env: env, Inbox: inbox, opened: time.Now()} // before observe.Open, so that nothing is recorded earlier
	if lab.Observer, err = observe.Open(ctx, env, cfg); err != nil {
		return nil, err
	}
	inbox.Earned, inbox.Failed = lab.couldCome, env.Failed
	return lab, nil
}

// emptyInbox returns an Inbox of the links of env, after discarding what was left unread on them.
func emptyInbox(ctx context.Context, env *netnsenv.Env) (*peer.Inbox, error) {
	var links []peer.Link
	for _, l := range env.Links() {
		links = append(links, l)
	}
	inbox := peer.NewInbox(links...)
	_, err := inbox.Received(ctx)
	return inbox, err
}

// limitToWatch returns the table's limit, which must not change during the experiment; 0 if no room was configured.
func limitToWatch(r netnsenv.RoomInfo) int {
	if r.Free < 0 {
		return 0
	}
	return r.Limit
}

// table returns the Env's table, with the Observer as its Watcher.
func (l *Lab) table(ctx context.Context) *netnsenv.Table {
	return l.Env.Table().WatchedBy(netnsenv.Watcher{
		Drain: l.Observer.Drain,
		Entries: func(f nf.Filter) iter.Seq2[nf.Entry, error] {
			return func(yield func(nf.Entry, error) bool) {
				for e, err := range l.Observer.Flows(ctx, f) {
					if unknown := (*nfnl.UnknownError)(nil); errors.As(err, &unknown) || !yield(e, err) {
						return // attributes of newer kernels are not needed
					}
				}
			}
		},
		Had: func(f nf.Filter) error { return l.hadEntry(ctx, f) },
	})
}

// hadEntry returns an error if no event was about an entry that a filter selects: a filter of none is most likely not the one that was
// meant, but in a loop it may find that all are gone.
func (l *Lab) hadEntry(ctx context.Context, f nf.Filter) error {
	if l.Observer.VacuousAllowed() {
		return nil
	}
	for e, err := range l.Observer.Events(ctx) {
		if err != nil {
			return fmt.Errorf("and whether one was there earlier is not known: %w; if none is meant, call AllowVacuous", err)
		}
		if f.Match(e.Entry) {
			return nil
		}
	}
	return errors.New("no event was ever about one; if none is meant, call AllowVacuous")
}

// Age makes the entries of the conntrack table older by d at once and returns how many expired; see netnsenv.Env.Age, also
// for what does not age. The Observer sees the DESTROY event of each, as if it had expired by itself, and no events for
// the new timeouts of the others. A filter that selects no entry is a netnsenv.ErrNoEntry, unless events tell that there was one
// earlier, or Observer.AllowVacuous was called.
func (l *Lab) Age(ctx context.Context, d time.Duration, filters ...nf.Filter) (int, error) {
	n, err := l.table(ctx).Age(ctx, d, filters...)
	l.Observer.NoteAged(n)
	l.Observer.Mark(ctx, fmt.Sprintf("aged by %v", d))
	return n, err
}

// Age makes entries older by d at once, all or those that one of the filters selects, and returns how many expired:
//
//	x.Age(121 * time.Second) // no TIME_WAIT is left
//
// The test fails if a filter selects no entry and has never selected one, as events tell: see AllowVacuous. Without a filter, the
// table may be empty.
func (x *Experiment) Age(d time.Duration, filters ...nf.Filter) int {
	x.t.Helper()
	return ask(x, "Age", func(ctx context.Context) (int, error) { return x.Lab.Age(ctx, d, filters...) })
}

// Flush deletes the entries of the table, all or those that one of the filters selects, and returns how many. The
// Observer's events are read meanwhile, so that none of the DESTROY events is lost. A filter that selects none is no error.
func (l *Lab) Flush(ctx context.Context, filters ...nf.Filter) (int, error) {
	return l.flush(ctx, filters, func(nf.Filter) error { return nil })
}

// flush is Flush that calls none about each filter that selects no entry.
func (l *Lab) flush(ctx context.Context, filters []nf.Filter, none func(nf.Filter) error) (int, error) {
	if len(filters) == 0 {
		filters = []nf.Filter{{}}
	}
	deleted := 0
	for i, f := range filters {
		n, err := l.table(ctx).Flush(ctx, f)
		if deleted += n; err != nil {
			return deleted, err
		}
		if n > 0 || f == (nf.Filter{}) {
			continue
		}
		if err := none(f); err != nil {
			return deleted, fmt.Errorf("filter %d: %w: %w", i+1, netnsenv.ErrNoEntry, err)
		}
	}
	return deleted, nil
}

// Flush deletes the entries of the table, all or those that one of the filters selects, and returns how many. The test fails if a
// filter selects no entry and has never selected one, as events tell: see AllowVacuous. Without a filter, the table may be empty.
func (x *Experiment) Flush(filters ...nf.Filter) int {
	x.t.Helper()
	return ask(x, "Flush", func(ctx context.Context) (int, error) {
		return x.flush(ctx, filters, func(f nf.Filter) error { return x.hadEntry(ctx, f) })
	})
}

// Load loads rules in their order, as Config.Rules are, to add or change rules in the middle of an experiment:
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

// Join connects the Env of the Lab to another's by a wire; see netnsenv.Join. When Inject of either Lab returns, both
// kernels have processed the packets, and both Observers have seen them.
func (l *Lab) Join(ctx context.Context, other *Lab, w netnsenv.Wire) error {
	if other == nil {
		return errors.New("ctexp: join: the other Lab is nil")
	}
	return netnsenv.Join(ctx, l.Env, other.Env, w)
}

// Join connects the experiment's host to another's by a wire, whose first end is here; see netnsenv.Join.
func (x *Experiment) Join(other *Experiment, w netnsenv.Wire) {
	x.t.Helper()
	x.do("Join", func(ctx context.Context) error {
		if other == nil {
			return errors.New("the other Experiment is nil")
		}
		return x.Lab.Join(ctx, other.Lab, w)
	})
}

// NewShape is New for each host of a shape, which it joins by the shape's wires. The Experiments are by the names of the hosts.
func NewShape(t TB, s netnsenv.Shape) map[string]*Experiment {
	t.Helper()
	hosts, envs := map[string]*Experiment{}, map[string]*netnsenv.Env{}
	for _, h := range s.Hosts {
		if hosts[h.Name] != nil {
			t.Fatalf("ctexp.NewShape: host %q twice", h.Name)
		}
		hosts[h.Name] = New(t, h.Config)
		envs[h.Name] = hosts[h.Name].Env
	}
	if len(s.Hosts) > 0 {
		hosts[s.Hosts[0].Name].do("NewShape", func(ctx context.Context) error { return s.Join(ctx, envs) })
	}
	return hosts
}
