package ctexp

import (
	"context"
	"errors"
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

// Flood sends a flood by the first link of the Env and returns what was sent and what has arrived, when the kernel is done with
// all of it.
//
// The Observer goes on recording, and takes what the kernel has for it so often that nothing is lost of a flood of any
// speed. But it keeps no more than 100,000 frames and 250,000 events: what comes behind them is counted, and Frames and Events
// end in ErrFramesLost and ErrEventsLost. All else, Tally, Flows, Path, does not mind. A larger flood, and one that is to be
// fast, goes into an Env with NoFrames and NoEvents, or with limits of its own: see Watch.
func (l *Lab) Flood(ctx context.Context, f inject.Flood) (inject.Flooded, error) {
	links := l.Env.Links()
	if len(links) == 0 {
		return inject.Flooded{}, errors.New("ctexp: flood: the Env has no link")
	}
	return l.flood(ctx, links[0], f)
}

// FloodBy is Flood by the link of that name.
func (l *Lab) FloodBy(ctx context.Context, link string, f inject.Flood) (inject.Flooded, error) {
	to := l.Env.Link(link)
	if to == nil {
		return inject.Flooded{}, fmt.Errorf("ctexp: flood: the Env has no link %q", link)
	}
	return l.flood(ctx, to, f)
}

func (l *Lab) flood(ctx context.Context, link *netnsenv.Link, f inject.Flood) (inject.Flooded, error) {
	done, err := f.Send(ctx, drained{link, l.Observer.Drain, max(leastDrained, mostDrained/max(1, f.Queues))})
	l.sent.Add(uint64(done.Sent))
	l.Observer.Mark(ctx, fmt.Sprintf("flood of %s by %s", packets(done.Sent), link.Name()))
	return done, err
}

// drained is a link at whose packets the Observer takes what it has seen, lest a buffer of the kernel run over: those of an
// ordinary user hold some 300 frames or events, of which a packet may make several.
type drained struct {
	*netnsenv.Link
	drain func()
	every int // packets of each queue
}

const mostDrained, leastDrained = 64, 8

// WriteBatch writes packets and drains behind every few of them.
func (d drained) WriteBatch(packets [][]byte) (n int, err error) {
	for n < len(packets) && err == nil {
		var written int
		written, err = d.Link.WriteBatch(packets[n:min(len(packets), n+d.every)])
		n += written
		d.drain()
	}
	return n, err
}

// packets returns "1 packet", "2 packets".
func packets(n int) string {
	if n == 1 {
		return "1 packet"
	}
	return fmt.Sprintf("%d packets", n)
}

// Flood sends a flood by the first link and returns what was sent and what has arrived; see Lab.Flood.
func (x *Experiment) Flood(f inject.Flood) inject.Flooded {
	x.t.Helper()
	return ask(x, "Flood", func(ctx context.Context) (inject.Flooded, error) { return x.Lab.Flood(ctx, f) })
}

// FloodBy is Flood by the link of that name.
func (x *Experiment) FloodBy(link string, f inject.Flood) inject.Flooded {
	x.t.Helper()
	return ask(x, "FloodBy", func(ctx context.Context) (inject.Flooded, error) { return x.Lab.FloodBy(ctx, link, f) })
}
