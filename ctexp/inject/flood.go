package inject

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"syscall"
	"time"
)

// Flood sends many packets that differ in some fields, as fast as the host under test takes them or at a given rate. N or
// Duration says how many; with both, what is reached first ends it.
//
//	inject.Flood{
//		Template: inject.SYN(web),
//		Vary:     []inject.Vary{{Field: inject.VarySrcPort, Count: 50_000}, {Field: inject.VarySrc, Count: 100}},
//		N:        1_000_000,
//	}
type Flood struct {
	// Template is what all packets are like. Its checksums are changed by as much as its fields are (RFC 1624), so that a
	// wrong one stays wrong; that of SCTP is made right.
	Template Packet
	// Vary says what differs. Empty: nothing.
	Vary []Vary
	// N is how many packets are sent. Zero: as many as Duration allows.
	N int
	// Duration is how long packets are sent. Zero: until N are.
	Duration time.Duration
	// Rate is how many packets are sent in a second. What was missed, because the host was busy, is made up for. Zero: no limit.
	Rate float64
	// Queues is how many goroutines send at the same time; with more than one the packets arrive in about their order only.
	// Zero: one.
	Queues int
	// Progress is told what was sent, every so often and once in the end, by the goroutine that called Send.
	Progress func(FloodProgress)
	// Every is how often; zero: every second.
	Every time.Duration
}

// FloodProgress is how far a Flood has come.
type FloodProgress struct {
	Sent int           // packets
	Of   int           // the Flood's N
	Took time.Duration // since it began
}

// String returns "25000 of 100000 packets in 12ms".
func (p FloodProgress) String() string {
	of := ""
	if p.Of > 0 {
		of = fmt.Sprintf(" of %d", p.Of)
	}
	return fmt.Sprintf("%d%s packets in %v", p.Sent, of, p.Took.Round(time.Millisecond))
}

// Flooded is what came of a Flood.
type Flooded struct {
	Sent    int           // packets that were written to the link
	Arrived int           // packets that the host has begun with, as its ingress hook has counted; of others that send meanwhile, too
	Took    time.Duration // from the first to when the host was done with the last
}

// String returns "100000 packets sent, 100000 arrived, 45ms, 2222222/s".
func (f Flooded) String() string {
	rate := 0.0
	if f.Took > 0 {
		rate = float64(f.Sent) / f.Took.Seconds()
	}
	return fmt.Sprintf("%s sent, %d arrived, %v, %.0f/s", counted(f.Sent, "packet"), f.Arrived, f.Took.Round(time.Millisecond), rate)
}

// batchLink is a Link that takes many packets at once, from several goroutines at the same time. *netnsenv.Link is one.
type batchLink interface {
	// WriteBatch hands packets to the host and returns how many it has taken. It keeps none of them.
	WriteBatch(packets [][]byte) (int, error)
}

// countingLink is a Link that knows how many packets have ever reached the host. *netnsenv.Link is one.
type countingLink interface{ Arrived() (uint64, error) }

// maxQueues is more than any machine has use for.
const maxQueues = 1024

// check says what is wrong with f.
func (f Flood) check() error {
	switch {
	case f.N < 0:
		return fmt.Errorf("negative count %d", f.N)
	case f.Duration < 0:
		return fmt.Errorf("negative duration %v", f.Duration)
	case f.N == 0 && f.Duration == 0:
		return errors.New("neither N nor Duration says when it ends")
	case f.Rate < 0 || math.IsNaN(f.Rate) || math.IsInf(f.Rate, 0):
		return fmt.Errorf("rate %v: want 0, or packets per second", f.Rate)
	case f.Queues < 0 || f.Queues > maxQueues:
		return fmt.Errorf("%d queues: want 0 to %d", f.Queues, maxQueues)
	case f.Every < 0:
		return fmt.Errorf("progress every %v: want 0, or an interval", f.Every)
	}
	return nil
}

// Packets returns the packets of the Flood in their order, N of them. It panics where Send would return an error, and if N
// is zero.
func (f Flood) Packets() iter.Seq[Packet] {
	m, err := newMint(f.Template, f.Vary)
	if err == nil {
		err = f.check()
	}
	if err == nil && f.N == 0 {
		err = errors.New("no N says how many")
	}
	if err != nil {
		panic("inject: flood: " + err.Error())
	}
	return func(yield func(Packet) bool) {
		for i := range f.N {
			p := make(Packet, len(f.Template))
			m.strike(p, uint64(i))
			if !yield(p) {
				return
			}
		}
	}
}

// Send floods the host by link and waits until it is done with everything. What is wrong with the Flood is an error before the
// first packet, a template larger than the link's MTU among it (syscall.EMSGSIZE).
//
// A packet that the link refuses ends it, and so does the end of ctx; what was sent before is counted and final. Packets that
// were lost before the host began with them are an error as well: how many, the counts say.
func (f Flood) Send(ctx context.Context, link Link) (Flooded, error) {
	if link == nil {
		panic("inject: Flood of a nil Link")
	}
	done, err := f.send(ctx, link)
	if err != nil {
		err = fmt.Errorf("flood %s: %w", link.Name(), err)
	}
	return done, err
}

func (f Flood) send(ctx context.Context, link Link) (done Flooded, err error) {
	m, err := newMint(f.Template, f.Vary)
	if err == nil {
		err = f.check()
	}
	if mtu := link.MTU(); err == nil && len(f.Template) > mtu {
		err = fmt.Errorf("%d bytes into an MTU of %d: %w", len(f.Template), mtu, syscall.EMSGSIZE)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return done, err
	}
	before, counts, err := arrived(link)
	if err != nil {
		return done, err
	}
	plan := newPlan(f)
	sendErr := f.flood(ctx, link, m, plan)
	done.Sent = int(plan.sent.Load())
	if sendErr != nil {
		sendErr = fmt.Errorf("after %s: %w", counted(done.Sent, "packet"), sendErr)
	}
	fenceErr := New(link).fence(ctx)
	done.Took = time.Since(plan.start)
	done.Arrived = done.Sent
	if counts {
		now, err := arrived64(link)
		if err != nil {
			return done, errors.Join(sendErr, fenceErr, err)
		}
		done.Arrived = int(now - before)
	}
	f.tell(plan)
	return done, errors.Join(sendErr, fenceErr)
}

// arrived returns what a link has counted, if it counts.
func arrived(link Link) (n uint64, counts bool, err error) {
	if _, counts = link.(countingLink); !counts {
		return 0, false, nil
	}
	n, err = arrived64(link)
	return n, true, err
}

func arrived64(link Link) (uint64, error) { return link.(countingLink).Arrived() }
