package netnsenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/links"
	"github.com/ctexp/go-ctexp/internal/mmsg"
	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ours"
	"github.com/ctexp/go-ctexp/internal/queues"
)

// Queue is the reader of a queue of the kernel (NFQUEUE). Packets that a rule sends there stay where they are until Release,
// Drop or Repeat decides about them, in any order. Its methods are safe for concurrent use. Packets that are held when it
// is closed are dropped.
//
// While packets are held, load no rules that add or delete a base chain or end a table: the kernel drops all held packets
// of the namespace when a hook is removed, which later calls report as ErrNotHeld, and when a hook is added before
// theirs, packets that are released meet the wrong chain next (net/netfilter/nf_queue.c, nf_hook_drop and nf_reinject).
type Queue struct {
	env     *Env
	numbers []uint16
	classes []nf.Class      // of numbers; nil: the kernel may report them
	chain   *nftables.Chain // with the rules of a Hold; nil: the rules are the user's
	at      int32           // the priority of chain
	pump    *mmsg.Pump
	stats   *os.File // nfnetlink_queue of /proc
	forget  func()

	deciding sync.Mutex // held while verdicts are sent
	seq      uint32     // of the latest verdict

	mu      sync.Mutex
	closed  bool
	held    []waitingPacket // in the order in which they came
	names   links.Names
	refused map[uint32]error // by sequence number
}

// waitingPacket is a held packet with what the kernel calls it.
type waitingPacket struct {
	Held
	queue uint16
	id    uint32
}

// maxHeld is the largest number of packets that wait in a queue.
const maxHeld = 1 << 16

// queueBuffer holds the packets that were not read yet, if the host's rmem_max allows it. The Queue reads at once.
const queueBuffer = 8 << 20

// Hold holds the packets that a probe p would count: in its hook, at its priority. The zero Probe holds every packet that
// comes in, in prerouting at priority 0: behind conntrack and DNAT, and before the confirmation. The name of p is not used.
// Packets of the host itself are held in nf.Output.
//
// Because the rule of a Hold is a new chain, Hold returns an error while packets are held. If the kernel has no NFQUEUE, the
// error is an nf.UnsupportedError.
func (e *Env) Hold(ctx context.Context, p nf.Probe) (*Queue, error) {
	q, err := e.hold(ctx, p, maxHeld)
	if err != nil {
		return nil, fmt.Errorf("netnsenv: hold packets in %v: %w", p.Hook, err)
	}
	return q, nil
}

func (e *Env) hold(ctx context.Context, p nf.Probe, maxLen uint32) (*Queue, error) {
	switch {
	case p.Hook > nf.Postrouting:
		return nil, errors.New("want prerouting, input, forward, output or postrouting")
	case p.BehindConfirm():
		return nil, errors.New("no packet waits behind the confirmation, which is the last hook")
	case e.cfg.Conntrack == Off && p.AsksConntrack():
		return nil, errors.New("it asks conntrack, which is off")
	}
	if err := errors.Join(p.Check(), e.checkMatchLinks(p.Match)); err != nil {
		return nil, err
	}
	if waiting, err := e.Waiting(ctx); err != nil || len(waiting) > 0 {
		return nil, errors.Join(err, heldAlready(waiting))
	}
	var classes []nf.Class
	if e.cfg.Conntrack == On && isBehindConntrack(p) {
		classes = nf.Classes()
	}
	q, err := e.openHold(p, classes, maxLen)
	if err != nil {
		return nil, err
	}
	if err := q.addRules(p); err != nil {
		return nil, errors.Join(err, q.stop())
	}
	return q, nil
}

// isBehindConntrack reports whether packets have a class at the hook and the priority of p. Unlike that of
// nf.Probe.BehindConntrack, the answer is also right for the host's own packets.
func isBehindConntrack(p nf.Probe) bool {
	return p.Hook != nf.Prerouting && p.Hook != nf.Output || p.Priority > nf.PriorityConntrack
}

func heldAlready(waiting []nf.Waiting) error {
	var errs []error
	for _, w := range waiting {
		errs = append(errs, fmt.Errorf("%v: a new chain would lead them astray; hold before the packets come", w))
	}
	return errors.Join(errs...)
}

// openHold opens queues with numbers that nobody reads: one for each class, because not every kernel reports the class
// of a packet in a queue, or a single one.
func (e *Env) openHold(p nf.Probe, classes []nf.Class, maxLen uint32) (*Queue, error) {
	n := max(1, len(classes))
	for {
		e.mu.Lock()
		first := int(ours.HoldQueue) + e.holds
		e.holds += n
		e.mu.Unlock()
		if first+n > math.MaxUint16 {
			return nil, errors.New("no number of a queue is left")
		}
		q := &Queue{classes: classes, at: p.Priority, chain: &nftables.Chain{
			Table: e.owned.inet, Name: fmt.Sprintf("hold_%d", first), Type: nftables.ChainTypeFilter,
			Hooknum:  nftables.ChainHookRef(nftables.ChainHook(p.Hook)),
			Priority: nftables.ChainPriorityRef(nftables.ChainPriority(p.Priority)),
		}}
		for i := range n {
			q.numbers = append(q.numbers, uint16(first+i))
		}
		if err := q.open(e, maxLen); !errors.Is(err, ErrQueueTaken) {
			return q, err
		}
	}
}

// Queue reads the queue with this number, to which rules of the experiment send packets ("queue num 5", "-j NFQUEUE
// --queue-num 5"). If it has a reader, the error is ErrQueueTaken; if the kernel has no NFQUEUE, an nf.UnsupportedError.
func (e *Env) Queue(ctx context.Context, number uint16) (*Queue, error) {
	q := &Queue{numbers: []uint16{number}}
	err := q.open(e, maxHeld)
	if err == nil && ctx.Err() != nil {
		err = errors.Join(context.Cause(ctx), q.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("netnsenv: queue %d: %w", number, err)
	}
	return q, nil
}

// open binds q to its numbers and starts to read.
func (q *Queue) open(e *Env, maxLen uint32) error {
	q.env, q.names, q.refused = e, links.Names{}, map[uint32]error{}
	var conn nfnl.Listener
	err := e.do(func() (err error) {
		// Its namespace is that of the thread that opens it.
		q.stats, err = os.Open("/proc/thread-self/net/netfilter/nfnetlink_queue")
		if errors.Is(err, os.ErrNotExist) {
			err = &nf.UnsupportedError{Need: "NFQUEUE", Hint: "a kernel with CONFIG_NETFILTER_NETLINK_QUEUE", Err: err}
		}
		if err == nil {
			conn, err = nfnl.Listen(queueBuffer, nil)
		}
		return err
	})
	if err != nil {
		if q.stats != nil {
			q.stats.Close()
		}
		return err
	}
	err = conn.BindQueues(maxLen, q.numbers...)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EBUSY) { // nfqnl_recv_config
		err = ErrQueueTaken
	}
	if err != nil {
		return errors.Join(err, conn.Close(), q.stats.Close())
	}
	if q.pump, err = conn.Pump("NFQUEUE", q.read); err != nil {
		return errors.Join(err, q.stats.Close())
	}
	q.forget = e.onClose(closerFunc(q.stop))
	e.mu.Lock()
	e.queues = append(e.queues, q)
	e.mu.Unlock()
	return nil
}

// addRules sends the packets that p counts to the queues.
func (q *Queue) addRules(p nf.Probe) error {
	o := q.env.owned
	o.mu.Lock()
	defer o.mu.Unlock()
	add := func(verdict func(uint16) expr.Any) error {
		o.rules.AddChain(q.chain)
		for i, number := range q.numbers {
			match := matchExprs(p)
			if q.classes != nil {
				match = append(match, classExprs(q.classes[i])...)
			}
			o.rules.AddRule(&nftables.Rule{Table: o.inet, Chain: q.chain, Exprs: append(match, verdict(number))})
		}
		return o.flush()
	}
	err := add(func(number uint16) expr.Any { return &expr.Queue{Num: number} })
	if errors.Is(err, unix.ENOENT) { // without CONFIG_NFT_QUEUE
		err = add(func(number uint16) expr.Any {
			info := xt.Unknown(nativeUint16(number)) // struct xt_NFQ_info
			return &expr.Target{Name: "NFQUEUE", Info: &info}
		})
	}
	err = lackIf(err, nf.UnsupportedError{
		Need: "NFQUEUE", Hint: "a kernel with CONFIG_NFT_QUEUE, or CONFIG_NETFILTER_XT_TARGET_NFQUEUE and CONFIG_NFT_COMPAT",
	}, noExpression...)
	if err != nil {
		return fmt.Errorf("add the rules: %w", err)
	}
	return nil
}

// classExprs returns the expressions that match the packets of a class.
func classExprs(c nf.Class) []expr.Any { return matchExprs(nf.Probe{State: c.State(), Dir: c.Dir()}) }

// read records what the kernel has sent. What found the receive buffer full was dropped and is counted by the kernel.
func (q *Queue) read(fd int, _ bool) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	err := nfnl.ReadAll(fd, func() {}, func(b *mmsg.Buffer, n int) error {
		for i := range n {
			err := nfnl.EachQueued(b.Payload(i), func(p nfnl.Queued) error {
				q.add(fd, p)
				return nil
			}, func(seq uint32, err error) { q.refused[seq] = err })
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("receive from NFQUEUE: %w", err)
	}
	return nil
}

func (q *Queue) add(fd int, p nfnl.Queued) {
	h := waitingPacket{queue: p.Queue, id: p.ID, Held: Held{
		ID: q.env.held.Add(1), In: q.names.Name(fd, p.In), Out: q.names.Name(fd, p.Out), Hook: p.Hook, Class: p.Class, Mark: p.Mark,
		Packet: packet.Packet(bytes.Clone(p.Payload)),
	}}
	if i := slices.Index(q.numbers, p.Queue); q.classes != nil && i >= 0 {
		h.Class = q.classes[i]
	}
	q.held = append(q.held, h)
}

// Held returns the packets that are held now, in the order in which they came. When Inject has returned, every packet
// that its packets have sent to the queue is there. If the kernel has dropped packets, the error is ErrQueueFull or
// ErrNotHeld.
func (q *Queue) Held(ctx context.Context) ([]Held, error) {
	var held []Held
	packets, err := q.packets(ctx)
	for _, p := range packets {
		h := p.Held
		h.Packet = slices.Clone(h.Packet)
		held = append(held, h)
	}
	if err != nil {
		return held, fmt.Errorf("netnsenv: held packets: %w", err)
	}
	return held, nil
}

// packets returns what is held now, after it has compared it with what the kernel has counted.
func (q *Queue) packets(ctx context.Context) ([]waitingPacket, error) {
	for {
		before, err := q.count()
		if err == nil {
			err = q.pump.Drain()
		}
		if err != nil {
			return nil, err
		}
		q.mu.Lock()
		held := slices.Clone(q.held)
		q.mu.Unlock()
		after, err := q.count()
		switch {
		case err != nil:
			return held, err
		case ctx.Err() != nil:
			return held, context.Cause(ctx)
		case after.dropped > 0:
			return held, fmt.Errorf("%w: %d packets were dropped", ErrQueueFull, after.dropped)
		case before != after: // packets come or go meanwhile
			continue
		case after.waiting < uint64(len(held)):
			return held, fmt.Errorf("%d packets are %w: a hook or a link was removed", uint64(len(held))-after.waiting, ErrNotHeld)
		}
		return held, nil
	}
}

// queueClosed is the ErrClosed of a Queue, which may be closed while its Env is open.
type queueClosed struct{}

func (queueClosed) Error() string { return "the Queue is closed" }
func (queueClosed) Unwrap() error { return ErrClosed }

// queueCount is what the kernel counts in the queues of a Queue.
type queueCount struct{ waiting, dropped, came uint64 }

// count reads the kernel's counts.
func (q *Queue) count() (c queueCount, err error) {
	q.mu.Lock()
	closed := q.closed
	q.mu.Unlock()
	if closed {
		return c, queueClosed{}
	}
	all, err := queues.ReadNFQueues(q.stats)
	for _, n := range all {
		if slices.Contains(q.numbers, n.Number) {
			c.waiting, c.dropped, c.came = c.waiting+n.Waiting, c.dropped+n.Dropped, c.came+n.Came
		}
	}
	return c, err
}

// Release lets packets go on, in the order of the arguments, from the hook behind the one that holds them (NF_ACCEPT). A
// packet whose Packet or Mark was changed goes on with the new one (a changed Packet is an nf.UnsupportedError where the kernel
// lets no user namespace write packets):
//
//	held[0].Packet = held[0].Packet.With(packet.TTL(1))
//	q.Release(ctx, held[0])
//
// When it returns, the kernel has processed them. If a packet is not held, the error is ErrNotHeld, and no verdict is given.
func (q *Queue) Release(ctx context.Context, packets ...Held) error {
	return q.decide(ctx, "release", nfnl.Accept, packets)
}

// Drop drops packets (NF_DROP). Errors are those of Release.
func (q *Queue) Drop(ctx context.Context, packets ...Held) error {
	return q.decide(ctx, "drop", nfnl.Drop, packets)
}

// Repeat lets packets meet the hook that holds them again (NF_REPEAT), changed as by Release. The packet of a Hold is held
// again, with a new ID, unless the change makes the Probe miss it. Errors are those of Release.
func (q *Queue) Repeat(ctx context.Context, packets ...Held) error {
	return q.decide(ctx, "repeat", nfnl.Repeat, packets)
}

func (q *Queue) decide(ctx context.Context, what string, v nfnl.Verdict, packets []Held) error {
	q.deciding.Lock()
	defer q.deciding.Unlock()
	err := q.send(ctx, v, packets)
	for _, l := range q.env.links {
		if err == nil {
			err = l.Fence(ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("netnsenv: %s held packets: %w", what, err)
	}
	return nil
}

// send gives a verdict on each of the packets, all of which must be held.
func (q *Queue) send(ctx context.Context, v nfnl.Verdict, packets []Held) error {
	held, err := q.packets(ctx)
	if err != nil {
		return err
	}
	requests := make([][]byte, len(packets))
	seen := map[uint64]bool{}
	for i, p := range packets {
		at := slices.IndexFunc(held, func(h waitingPacket) bool { return h.ID == p.ID })
		if at < 0 || seen[p.ID] {
			return fmt.Errorf("packet %d: %w", p.ID, ErrNotHeld)
		}
		if h := held[at]; p.In != h.In || p.Out != h.Out || p.Hook != h.Hook || p.Class != h.Class {
			return fmt.Errorf("packet %d: it is of another Queue, or its In, Out, Hook or Class was changed: %w", p.ID, ErrNotHeld)
		}
		seen[p.ID] = true
		var payload []byte
		var mark *uint32
		if !bytes.Equal(p.Packet, held[at].Packet) {
			if header.Version(p.Packet) == 0 || len(p.Packet) > math.MaxUint16-nfnl.AttributeSize {
				return fmt.Errorf("packet %d: what it was changed to is no IP packet of at most 65,531 bytes", p.ID)
			}
			payload = p.Packet
			// Where rules may not write packets, the kernel drops one that a verdict has changed, without a word.
			may, err := q.env.rulesMayWrite()
			if err == nil && !may {
				err = lackOfWriting(errors.New("the packet is changed"))
			}
			if err != nil {
				return fmt.Errorf("packet %d: %w", p.ID, err)
			}
		}
		if p.Mark != held[at].Mark {
			mark = &p.Mark
		}
		requests[i] = nfnl.AppendVerdict(nil, held[at].queue, held[at].id, v, mark, payload)
	}
	for i, p := range packets {
		q.take(p.ID) // first, because a packet may be held again before the next line returns
		q.seq++
		if err := q.pump.Control(func(fd int) error { return nfnl.Send(fd, requests[i], q.seq) }); err != nil {
			return fmt.Errorf("packet %d: %w", p.ID, err)
		}
		if err := q.pump.Drain(); err != nil {
			return err
		}
		switch err := q.refusal(q.seq); {
		case errors.Is(err, unix.ENOENT):
			return fmt.Errorf("packet %d: %w", p.ID, ErrNotHeld)
		case err != nil:
			return fmt.Errorf("packet %d: %w", p.ID, err)
		}
	}
	return nil
}

func (q *Queue) take(id uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held = slices.DeleteFunc(q.held, func(h waitingPacket) bool { return h.ID == id })
}

func (q *Queue) refusal(seq uint32) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	err := q.refused[seq]
	delete(q.refused, seq)
	return err
}

// Waiting returns how many packets the Queue holds now, by family and hook. Errors are those of Held.
func (q *Queue) Waiting(ctx context.Context) ([]nf.Waiting, error) {
	held, err := q.packets(ctx)
	var all []nf.Waiting
	for _, h := range held {
		w := nf.Waiting{
			Queue: q.numbers[0], Family: nf.IPv4, Hook: h.Hook, From: nf.PriorityFirst, To: nf.PriorityConfirm,
		}
		if header.Version(h.Packet) == 6 {
			w.Family = nf.IPv6
		}
		if q.chain != nil {
			w.From, w.To = q.at, q.at
		}
		i := slices.IndexFunc(all, func(o nf.Waiting) bool { return o.Family == w.Family && o.Hook == w.Hook })
		if i < 0 {
			i, all = len(all), append(all, w)
		}
		all[i].Packets++
	}
	if err != nil {
		return all, fmt.Errorf("netnsenv: queue %d: %w", q.numbers[0], err)
	}
	return all, nil
}

// Waiting returns how many packets the Queues of the Env hold now, by queue, family and hook; none if it has none.
func (e *Env) Waiting(ctx context.Context) ([]nf.Waiting, error) {
	var all []nf.Waiting
	var errs []error
	for _, q := range e.openQueues() {
		w, err := q.Waiting(ctx)
		if errors.Is(err, ErrClosed) {
			continue
		}
		all, errs = append(all, w...), append(errs, err)
	}
	return all, errors.Join(errs...)
}

// DrainQueues reads the packets that the kernel has sent to the Queues of the Env, so that they do not fill the buffers.
func (e *Env) DrainQueues() {
	for _, q := range e.openQueues() {
		_ = q.pump.Drain() // an error remains until packets asks for it
	}
}

func (e *Env) openQueues() []*Queue {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.queues)
}

// Close removes the rules of a Hold and drops the packets that are still held. Closing the Env closes its Queues. A second
// Close does nothing.
func (q *Queue) Close() error {
	var err error
	if q.chain != nil && q.env.FD() >= 0 {
		o := q.env.owned
		o.mu.Lock()
		o.rules.FlushChain(q.chain) // the chain stays: with a hook all packets of the namespace that are held would go
		if err = o.flush(); err != nil {
			err = fmt.Errorf("netnsenv: remove the rules of queue %d: %w", q.numbers[0], err)
		}
		o.mu.Unlock()
	}
	q.forget()
	return errors.Join(err, q.stop())
}

// stop drops what is held, because of an unbound queue the kernel does that only later, and unbinds the queues.
func (q *Queue) stop() error {
	q.mu.Lock()
	closed := q.closed
	q.closed = true
	q.mu.Unlock()
	if closed {
		return nil
	}
	drained := q.pump.Drain()
	q.mu.Lock()
	last := map[uint16]uint32{}
	for _, h := range q.held {
		last[h.queue] = h.id // the kernel counts up
	}
	q.held = nil
	q.mu.Unlock()
	e := q.env
	e.mu.Lock()
	e.queues = slices.DeleteFunc(e.queues, func(o *Queue) bool { return o == q })
	e.mu.Unlock()
	var requests []byte
	for queue, id := range last {
		requests = nfnl.AppendDropUpTo(requests, queue, id)
	}
	for _, number := range q.numbers {
		requests = nfnl.AppendQueueUnbind(requests, number)
	}
	err := q.pump.Control(func(fd int) error { return nfnl.Send(fd, requests, 0) })
	q.pump.Stop()
	return errors.Join(drained, err, q.stats.Close())
}
