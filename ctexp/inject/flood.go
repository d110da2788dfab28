package inject

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/flood"
)

// Flood sends many packets that differ in some fields, as fast as the host under test processes them or at a given rate. It ends
// after N packets or after Duration, whichever comes first.
//
//	inject.Flood{
//		Template: packet.SYN(web),
//		Vary:     []inject.Vary{{Field: inject.VarySrcPort, Count: 50_000}, {Field: inject.VarySrc, Count: 100}},
//		N:        1_000_000,
//	}
type Flood struct {
	// Template is the packet whose fields are varied. Its checksums are updated incrementally (RFC 1624), so that a wrong one
	// stays wrong; that of SCTP is computed.
	Template packet.Packet
	// Vary are the fields that differ. Empty means that all packets are the same.
	Vary []Vary
	// N is the number of packets. Zero means as many as Duration allows.
	N int
	// Duration is how long packets are sent: at least a batch, even if the process gets no time before it is over. Zero means
	// until N are sent.
	Duration time.Duration
	// Rate is in packets per second. Packets that are late because the host was busy are caught up. Zero means no limit.
	Rate float64
	// Queues is the number of goroutines that send; with more than one the packets arrive only roughly in order. Zero means one.
	Queues int
	// Progress is called at intervals and once at the end, by the goroutine that called Send.
	Progress func(FloodProgress)
	// Every is the interval of Progress; zero means one second.
	Every time.Duration
}

// FloodProgress is the progress of a Flood.
type FloodProgress struct {
	// Sent is the number of packets sent so far.
	Sent int
	// Of is the Flood's N.
	Of int
	// Took is the time since the Flood began.
	Took time.Duration
}

// String returns "25000 of 100000 packets in 12ms".
func (p FloodProgress) String() string {
	of := ""
	if p.Of > 0 {
		of = fmt.Sprintf(" of %d", p.Of)
	}
	return fmt.Sprintf("%d%s packets in %v", p.Sent, of, p.Took.Round(time.Millisecond))
}

// Flooded is the result of a Flood.
type Flooded struct {
	// Sent counts packets that were written to the link.
	Sent int
	// Arrived counts packets that the host has received, by its ingress hook; it includes those of others that send meanwhile.
	Arrived int
	// Took is the time from the first packet until the host had processed the last.
	Took time.Duration
}

// String returns "100000 packets sent, 100000 arrived, 45ms, 2222222/s".
func (f Flooded) String() string {
	rate := 0.0
	if f.Took > 0 {
		rate = float64(f.Sent) / f.Took.Seconds()
	}
	return fmt.Sprintf("%s sent, %d arrived, %v, %.0f/s", counted(f.Sent, "packet"), f.Arrived, f.Took.Round(time.Millisecond), rate)
}

// batchLink is a Link that takes many packets at once. It is safe for concurrent use. *netnsenv.Link implements it.
type batchLink interface {
	// WriteBatch passes packets to the host and returns how many it has taken. It keeps none of them.
	WriteBatch(packets [][]byte) (int, error)
}

// countingLink is a Link that counts the packets that have reached the host. *netnsenv.Link implements it.
type countingLink interface{ Arrived() (uint64, error) }

// maxQueues is more than any machine can use.
const maxQueues = 1024

// check returns what is wrong with f.
func (f Flood) check() error {
	switch {
	case f.N < 0:
		return fmt.Errorf("the count N is %d: want the number of packets", f.N)
	case f.Duration < 0:
		return fmt.Errorf("the Duration is %v: want 0, or how long it takes", f.Duration)
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
func (f Flood) Packets() iter.Seq[packet.Packet] {
	m, err := f.template()
	if err == nil && f.N == 0 {
		err = errors.New("no N says how many")
	}
	if err != nil {
		panic("inject: flood: " + err.Error())
	}
	return func(yield func(packet.Packet) bool) {
		for i := range f.N {
			p := make(packet.Packet, len(f.Template))
			m.write(p, uint64(i))
			if !yield(p) {
				return
			}
		}
	}
}

// Send floods the host on link and waits until the host has processed everything. An invalid Flood is an error before the first
// packet, such as a template larger than the link's MTU (syscall.EMSGSIZE).
//
// It stops at a packet that the link refuses, and when ctx is done; packets sent before are counted and final. Packets that were
// lost before the host received them are an error, too; their number is Sent - Arrived.
func (f Flood) Send(ctx context.Context, link Link) (Flooded, error) {
	if flood.IsNil(link) {
		panic("inject: Flood of a nil Link")
	}
	done, err := f.send(ctx, link)
	if err != nil {
		err = fmt.Errorf("flood %s: %w", link.Name(), err)
	}
	return done, err
}

func (f Flood) send(ctx context.Context, link Link) (done Flooded, err error) {
	m, err := f.template()
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
	s := &flooding{Flood: f, template: m, plan: flood.NewPlan(f.N, f.Duration, f.Rate, minPause)}
	sendErr := s.run(ctx, link)
	done.Sent = int(s.sent.Load())
	if sendErr != nil {
		sendErr = fmt.Errorf("after %s: %w", counted(done.Sent, "packet"), sendErr)
	}
	fenceErr := flood.Fence(ctx, link)
	done.Took = time.Since(s.plan.Start())
	done.Arrived = done.Sent
	if counts {
		now, err := arrived64(link)
		if err != nil {
			return done, errors.Join(sendErr, fenceErr, err)
		}
		done.Arrived = int(now - before)
	}
	s.progress()
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

// flooding is a running Flood.
type flooding struct {
	Flood
	template *template
	plan     *flood.Plan
	sent     atomic.Uint64
}

const (
	floodBatch = 64                     // packets at a time, at most
	minPause   = 200 * time.Microsecond // what a timer can keep
)

// run sends by as many goroutines as there are queues, and reports progress meanwhile.
func (s *flooding) run(ctx context.Context, link Link) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var queues sync.WaitGroup
	for range max(1, s.Queues) {
		queues.Go(func() {
			if err := newQueue(link, s).run(ctx); err != nil {
				cancel(err)
			}
		})
	}
	done := make(chan struct{})
	go func() {
		queues.Wait()
		close(done)
	}()
	s.progressUntil(done)
	return context.Cause(ctx)
}

// progressUntil calls Progress at intervals until done is closed.
func (s *flooding) progressUntil(done <-chan struct{}) {
	if s.Progress == nil {
		<-done
		return
	}
	every := s.Every
	if every == 0 {
		every = time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			s.progress()
		}
	}
}

func (s *flooding) progress() {
	if s.Progress != nil {
		s.Progress(FloodProgress{Sent: int(s.sent.Load()), Of: s.N, Took: time.Since(s.plan.Start())})
	}
}

// queue is one of the goroutines that send a Flood, with memory for one batch.
type queue struct {
	*flooding
	write   func(packets [][]byte) (int, error)
	packets [][]byte
}

func newQueue(link Link, s *flooding) *queue {
	q := &queue{flooding: s, write: oneByOne(link), packets: make([][]byte, floodBatch)}
	if b, ok := link.(batchLink); ok {
		q.write = b.WriteBatch
	}
	size := len(s.Template)
	memory := make([]byte, size*floodBatch)
	for i := range q.packets {
		q.packets[i], memory = memory[:size:size], memory[size:]
	}
	return q
}

// oneByOne is WriteBatch for a link that has none.
func oneByOne(link Link) func([][]byte) (int, error) {
	return func(packets [][]byte) (int, error) {
		for i, p := range packets {
			if _, err := link.Write(p); err != nil {
				return i, err
			}
		}
		return len(packets), nil
	}
}

// run sends what the plan gives it until the plan or ctx is done.
func (q *queue) run(ctx context.Context) error {
	for ctx.Err() == nil {
		from, n, wait := q.plan.Claim(floodBatch)
		if n == 0 {
			if wait == 0 {
				return nil
			}
			flood.Pause(ctx, wait)
			continue
		}
		for i := range n {
			q.template.write(q.packets[i], from+uint64(i))
		}
		sent, err := q.write(q.packets[:n])
		q.sent.Add(uint64(sent))
		if err == nil && sent < n {
			err = io.ErrShortWrite
		}
		if err != nil {
			return fmt.Errorf("packet %d: %w", from+uint64(sent)+1, err)
		}
	}
	return nil // the caller knows the cause
}
