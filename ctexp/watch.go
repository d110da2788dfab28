package ctexp

import (
	"context"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

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
func emptyInbox(ctx context.Context, env *netnsenv.Env) (*inject.Inbox, error) {
	var links []inject.Link
	for _, l := range env.Links() {
		links = append(links, l)
	}
	inbox := inject.NewInbox(links...)
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
