package ctexp

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/peer"
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

// Main runs the tests of a package, as root of namespaces of its own (netnsenv.Enter). Call it from TestMain with the
// *testing.M; it does not return. Flags, input, output, signals and the exit status are what they are without it, and
// where no namespaces can be had the tests that need them skip.
func Main(m interface{ Run() int }) {
	netnsenv.Enter()
	os.Exit(m.Run())
}
