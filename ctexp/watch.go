package ctexp

import (
	"context"
	"time"

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
	obs, err := observe.Open(ctx, env, cfg)
	if err != nil {
		return nil, err
	}
	return &Lab{Env: env, Observer: obs, opened: time.Now()}, nil
}

// limitToWatch is the limit that must stay what it is: any where no room was asked for.
func limitToWatch(r netnsenv.RoomInfo) int {
	if r.Free < 0 {
		return 0
	}
	return r.Limit
}
