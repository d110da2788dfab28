package ctexp

import (
	"context"
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
	link, err := l.firstLink()
	if err != nil {
		return inject.Flooded{}, fmt.Errorf("ctexp: flood: %w", err)
	}
	return l.flood(ctx, link, f)
}

// FloodBy is Flood by the link of that name.
func (l *Lab) FloodBy(ctx context.Context, link string, f inject.Flood) (inject.Flooded, error) {
	to, err := l.linkNamed(link)
	if err != nil {
		return inject.Flooded{}, fmt.Errorf("ctexp: flood: %w", err)
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

// Flood sends a flood by the first link and returns what was sent and what has arrived; see Lab.Flood.
func (x *Experiment) Flood(f inject.Flood) inject.Flooded {
	x.t.Helper()
	return ask1(x, "Flood", x.Lab.Flood, f)
}

// FloodBy is Flood by the link of that name.
func (x *Experiment) FloodBy(link string, f inject.Flood) inject.Flooded {
	x.t.Helper()
	return ask(x, "FloodBy", func(ctx context.Context) (inject.Flooded, error) { return x.Lab.FloodBy(ctx, link, f) })
}
