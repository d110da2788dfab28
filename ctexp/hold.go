package ctexp

import (
	"context"
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

// Hold holds the packets that a probe p would count, in its hook and at its priority, until the Queue decides about them;
// see netnsenv.Env.Hold.
func (l *Lab) Hold(ctx context.Context, p nf.Probe) (*netnsenv.Queue, error) {
	return l.Env.Hold(ctx, p)
}

// Queue reads the queue of that number (NFQUEUE), to which rules of the experiment send packets; see netnsenv.Env.Queue.
func (l *Lab) Queue(ctx context.Context, number uint16) (*netnsenv.Queue, error) {
	return l.Env.Queue(ctx, number)
}

// Queue is a netnsenv.Queue for a test: an error ends the test.
type Queue struct {
	*netnsenv.Queue
	x        *Experiment
	number   uint16 // of Experiment.Queue
	isProven bool   // a packet has got there, or a rule sends packets there, as that of a Hold does
	began    uint64 // Env.Acted when it was opened
}

// Hold holds the packets that a probe p would count, in its hook and at its priority, until the Queue decides about them. It is
// the way to entries that are not confirmed yet, and to clashes: two packets of one flow that are held are confirmed in
// any order.
//
//	queue := x.Hold(nf.Probe{Hook: nf.Forward, Match: nf.Match{Proto: nf.UDP}})
//	x.Inject(packet.Packets(flow.UDP([]byte("one")), flow.UDP([]byte("two"))))
//	held := queue.Held()
//	queue.Release(held[1], held[0])
//
// The zero Probe holds every packet that comes in, in prerouting at priority 0. Hold before packets are held elsewhere; see
// netnsenv.Queue, also for what must not be done while packets are held.
func (x *Experiment) Hold(p nf.Probe) *Queue {
	x.t.Helper()
	return &Queue{Queue: ask1(x, "Hold", x.Lab.Hold, p), x: x, isProven: true, began: x.Env.Acted()}
}

// Queue reads the queue of that number, to which rules of the experiment send packets ("queue num 5"), in place of the
// program that they were written for.
func (x *Experiment) Queue(number uint16) *Queue {
	x.t.Helper()
	return &Queue{Queue: ask1(x, "Queue", x.Lab.Queue, number), x: x, number: number, began: x.Env.Acted()}
}

// Held returns the packets that are held now, in the order in which they came. When Inject has returned, every packet
// that its packets have sent to the queue is there. Packets of the host's sockets come later: use Await. The test fails if there is
// none and nothing was sent, dialled or run since the Queue was opened, or there never was one and no rule sends packets to a Queue of this number: see AllowVacuous.
func (q *Queue) Held() []netnsenv.Held {
	q.x.t.Helper()
	held := proven(q.x, "Held", ask(q.x, "Held", q.Queue.Held))
	quiet := q.x.Env.Acted() == q.began // before rules are asked for, which may run programs
	if len(held) == 0 && !q.isProven {
		q.x.do("Held", func(ctx context.Context) error { return q.x.isQueued(ctx, q.number) })
	}
	if len(held) == 0 && quiet && !q.x.Observer.VacuousAllowed() {
		q.x.do("Held", func(context.Context) error {
			return fmt.Errorf("there is nothing, but since the Queue was opened %w; if that is meant, call x.AllowVacuous", observe.ErrVacuous)
		})
	}
	q.isProven = true
	return held
}

// Waiting returns how many packets are held now, by family and hook.
func (q *Queue) Waiting() []nf.Waiting {
	q.x.t.Helper()
	return ask(q.x, "Waiting", q.Queue.Waiting)
}

// Release lets packets go on in the order of the arguments, with changes of their Packet and Mark; see netnsenv.Queue.Release.
// To release all: q.Release(q.Held()...).
func (q *Queue) Release(packets ...netnsenv.Held) {
	q.x.t.Helper()
	q.do("Release", q.Queue.Release, packets)
}

// Drop drops packets.
func (q *Queue) Drop(packets ...netnsenv.Held) { q.x.t.Helper(); q.do("Drop", q.Queue.Drop, packets) }

// Repeat lets packets meet the hook that holds them again; see netnsenv.Queue.Repeat.
func (q *Queue) Repeat(packets ...netnsenv.Held) {
	q.x.t.Helper()
	q.do("Repeat", q.Queue.Repeat, packets)
}

// Close removes the rules of a Hold and drops what is held.
func (q *Queue) Close() {
	q.x.t.Helper()
	q.x.do("Close", func(context.Context) error { return q.Queue.Close() })
}

// do gives a verdict.
func (q *Queue) do(what string, decide func(context.Context, ...netnsenv.Held) error, packets []netnsenv.Held) {
	q.x.t.Helper()
	q.x.do(what, func(ctx context.Context) error { return decide(ctx, packets...) })
}
