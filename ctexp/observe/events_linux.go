package observe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/kernel"
	"github.com/ctexp/go-ctexp/internal/mmsg"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// Events returns the changes of the conntrack table, of entries and expectations, from Open until the iteration
// begins, in the kernel's order. After an Inject it has everything that the injected packets caused. The filler has
// no events.
//
// Where events are missing it yields an EventLost, after the last of which an EventResync follows for each entry that
// the table has now, and it ends in ErrEventsLost: the receive buffer was full (call Drain while sending, or set a
// larger Config.EventBuffer), or MaxEvents was reached. An attribute that this package does not know, as later
// kernels may add, is skipped and reported as the error at the end. With Config.NoEvents, or if
// net.netfilter.nf_conntrack_events was 0 in the namespace, the error is ErrOff.
func (o *Observer) Events(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		var d eventDecoder
		pieces, lost, err := o.readEvents(ctx)
		if err == nil {
			err = o.replay(ctx, pieces, &d, yield)
		}
		if err == nil {
			err = d.err()
		}
		if err != errStop && lost != (lostEvents{}) {
			err = errors.Join(fmt.Errorf("%w: %v", ErrEventsLost, lost), err)
		}
		if err != nil && err != errStop {
			yield(Event{}, fmt.Errorf("events: %w", err))
		}
	}
}

func (o *Observer) readEvents(ctx context.Context) ([]eventPiece, lostEvents, error) {
	release, err := o.use(ctx)
	if err != nil {
		return nil, lostEvents{}, err
	}
	defer release()
	if err := o.events.missing; err != nil {
		return nil, lostEvents{}, err
	}
	if err := o.whole(eventSwitches); err != nil {
		return nil, lostEvents{}, err
	}
	if err := o.checkEventMask(); err != nil {
		return nil, lostEvents{}, err
	}
	if err := o.events.Drain(); err != nil {
		return nil, lostEvents{}, err
	}
	pieces, lost := o.events.log.snapshot()
	return pieces, lost, nil
}

// replay yields recorded events. If there are several gaps, the table is read again only after the last: what it has
// now says nothing about the state after an earlier one.
func (o *Observer) replay(ctx context.Context, pieces []eventPiece, d *eventDecoder, yield func(Event, error) bool) error {
	last := -1
	for i, p := range pieces {
		if p.gap {
			last = i
		}
	}
	for i, p := range pieces {
		err := o.yieldPiece(ctx, p, d, yield)
		if err == nil && i == last {
			err = o.resync(ctx, yield)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// yieldPiece yields the events of one piece.
func (o *Observer) yieldPiece(ctx context.Context, p eventPiece, d *eventDecoder, yield func(Event, error) bool) error {
	if err := o.interrupted(ctx); err != nil {
		return err
	}
	if p.gap && !yield(Event{Time: p.read, Kind: EventLost}, nil) {
		return errStop
	}
	for msg := range p.each {
		e, ok, err := d.decode(msg, p.read)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if err := o.spare(e.Entry.Zone); err != nil {
			return err
		}
		if !yield(e, nil) {
			return errStop
		}
		if err := o.interrupted(ctx); err != nil {
			return err
		}
	}
	return nil
}

// resync yields the entries that the table has now.
func (o *Observer) resync(ctx context.Context, yield func(Event, error) bool) error {
	now := time.Now()
	_, err := o.eachFlow(ctx, nf.Filter{}, func(e nf.Entry) bool {
		return yield(Event{Time: now, Kind: EventResync, Entry: e}, nil)
	})
	if err != nil && err != errStop {
		err = fmt.Errorf("read the table again: %w", err)
	}
	return err
}

// errStop says that the consumer of an iterator ended the iteration.
var errStop = errors.New("iteration stopped")

// Follow yields the changes of the conntrack table from the beginning of the iteration on, and waits for more. It
// ends with the cause of ctx when ctx is done, or with os.ErrClosed when the Observer is closed.
//
// Where events are missing it yields an EventLost, followed by an EventResync for each entry of the table, and
// continues. The error at the end then includes ErrEventsLost. The consumer has to keep up: at most MaxEvents events
// are queued, and further ones are lost as well.
func (o *Observer) Follow(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if err := o.follow(ctx, yield); err != errStop {
			yield(Event{}, fmt.Errorf("follow events: %w", err))
		}
	}
}

func (o *Observer) follow(ctx context.Context, yield func(Event, error) bool) error {
	if _, _, err := o.readEvents(ctx); err != nil { // drain the events before the beginning
		return err
	}
	f := o.events.log.follow()
	defer o.events.log.leave(f)
	var d eventDecoder
	lost := false
	err := o.followOn(ctx, f, func(p eventPiece) error {
		err := o.yieldPiece(ctx, p, &d, yield)
		if p.gap && err == nil {
			lost = true
			err = o.resync(ctx, yield)
		}
		return err
	})
	if lost && err != errStop {
		err = errors.Join(err, ErrEventsLost)
	}
	if err != errStop {
		err = errors.Join(err, d.err())
	}
	return err
}

// followOn calls hand for each piece until ctx is done, the Observer is closed, or hand fails.
func (o *Observer) followOn(ctx context.Context, f *follower, hand func(eventPiece) error) error {
	for {
		for _, p := range f.take() {
			if err := hand(p); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-f.ready:
			if err := o.interrupted(ctx); err != nil {
				return err
			}
		}
	}
}

// NextEvent returns a channel that is closed when the next event is recorded or the Observer is closed. To wait for a
// state of the table, get the channel first, then read the table, then wait. Without events the channel is nil, which
// blocks forever.
func (o *Observer) NextEvent() <-chan struct{} {
	if o.events.missing != nil {
		return nil
	}
	return o.events.log.next()
}

// eventWatch receives the events of the conntrack table. It counts the entries that were removed without a request
// and, unless Config.NoEvents is set, stores all events.
type eventWatch struct {
	*mmsg.Pump
	ends      ends      // guarded by the Pump's lock, like the next three
	census    census    // unless log is nil
	overruns  int       // times the receive buffer was full
	congested bool      // events are missing after those still in the receive buffer
	log       *eventlog // nil: only DESTROY events are received
	missing   error     // why Events has none, even if log is set
}

// forcedBuffer holds 200,000 events for a process with CAP_NET_ADMIN in the initial user namespace; others get what
// net.core.rmem_max allows. It is a limit: only what waits to be read uses memory.
const forcedBuffer = 128 << 20

// watchEvents must be called on a thread in the namespace.
func watchEvents(cfg Config, table *nfnl.Conn, full func(ended int) bool) (*eventWatch, error) {
	w := &eventWatch{ends: ends{table: table, full: full, untold: !kernel.EndsTold.Here()}, missing: eventsAreOn()}
	groups, filter := []uint32{unix.NFNLGRP_CONNTRACK_DESTROY}, nfnl.PassUnasked()
	if cfg.NoEvents {
		w.missing = turnedOff("events", "the Observer was opened with NoEvents")
	} else {
		w.log = &eventlog{limit: cfg.maxEvents()}
		groups = append(groups, unix.NFNLGRP_CONNTRACK_NEW, unix.NFNLGRP_CONNTRACK_UPDATE,
			unix.NFNLGRP_CONNTRACK_EXP_NEW, unix.NFNLGRP_CONNTRACK_EXP_DESTROY)
		filter = nfnl.DropAged()
	}
	conn, err := nfnl.Listen(cmp.Or(cfg.EventBuffer, forcedBuffer), filter, groups...)
	if err != nil {
		return nil, fmt.Errorf("subscribe to conntrack events: %w", err)
	}
	if w.Pump, err = conn.Pump("conntrack events", w.read); err != nil {
		return nil, err
	}
	return w, nil
}

// eventsAreOn returns an error if the kernel does not generate events.
func eventsAreOn() error {
	switch v, err := readSysctl("nf_conntrack_events"); {
	case errors.Is(err, fs.ErrNotExist):
		return &nf.UnsupportedError{Need: "events", Hint: "a kernel with CONFIG_NF_CONNTRACK_EVENTS", Err: err}
	case err != nil:
		return err
	case v == "0":
		return turnedOff("events", "net.netfilter.nf_conntrack_events is 0 in the namespace; set it to 1")
	}
	return nil
}

// read receives all queued events.
func (w *eventWatch) read(fd int, _ bool) error {
	err := nfnl.ReadAll(fd, w.overrun, w.addBatch)
	if err != nil {
		return fmt.Errorf("receive conntrack events: %w", err)
	}
	w.bufferEmpty()
	return nil
}

// overrun records that the receive buffer was full. The kernel reports that first, but adds nothing until the buffer
// is empty (net/netlink/af_netlink.c, NETLINK_S_CONGESTED): the gap is after the events still in the buffer.
func (w *eventWatch) overrun() {
	w.overruns++
	w.congested = true
}

// addBatch processes the n messages of one read.
func (w *eventWatch) addBatch(b *mmsg.Buffer, n int) error {
	for i := range n {
		if err := w.ends.add(b.Payload(i)); err != nil {
			return err
		}
	}
	w.ends.judge()
	if w.log != nil {
		for i := range n {
			if err := w.census.add(b.Payload(i)); err != nil {
				return err
			}
		}
		w.log.add(time.Now(), n, b.Payload)
	}
	if n < mmsg.BufferLen {
		w.bufferEmpty()
	}
	return nil
}

// bufferEmpty records a pending gap, now that the receive buffer is empty.
func (w *eventWatch) bufferEmpty() {
	if w.congested && w.log != nil {
		w.log.overrun(time.Now())
	}
	w.congested = false
}

// ended returns how many entries were removed so far, by what removed them.
func (w *eventWatch) ended() (endCounts, error) {
	if err := w.Drain(); err != nil {
		return endCounts{}, err
	}
	w.Lock()
	defer w.Unlock()
	if err := w.ends.settle(); err != nil {
		return endCounts{}, err
	}
	if w.overruns > 0 {
		return endCounts{}, fmt.Errorf("%w: %v", ErrEventsLost, lostEvents{overruns: w.overruns})
	}
	return w.ends.counts, nil
}

// stop ends the reading, and wakes all that wait for events.
func (w *eventWatch) stop() {
	w.Pump.Stop()
	if w.log != nil {
		w.log.close()
	}
}

// ends counts the entries that were removed, by what removed them.
type ends struct {
	counts  endCounts
	early   int        // removed before their time, until judge decides why
	pending []nf.Entry // of fate maybeReplaced
	table   *nfnl.Conn
	untold  bool                 // events do not tell what removed an entry (see fateOf)
	full    func(ended int) bool // whether the table was almost full before so many entries were removed
}

// maxPending is the largest number of pending entries.
const maxPending = 1024

// add counts the entry of a message that is a DESTROY event, or defers the decision to judge or settle. It also checks
// the header of the others.
func (c *ends) add(msg []byte) error {
	kind, port, err := nfnl.KindOf(msg)
	if err != nil || kind != nfnl.Destroy {
		return err
	}
	body, at := nfnl.EventBody(msg)
	end, err := nfnl.DecodeEnd(body, at)
	if err != nil {
		return err
	}
	if port != 0 {
		c.counts.ByNetlink++
		return nil
	}
	if c.untold {
		c.counts.Untold++
		return nil
	}
	switch fateOf(end) {
	case timedOut:
		c.counts.TimedOut++
	case endedByPacket:
		c.counts.ByPacket++
	case early:
		c.endedEarly(end)
	case maybeReplaced:
		e, err := nfnl.DecodeEntry(body, at)
		if err != nil {
			return err
		}
		c.pending = append(c.pending, e)
		if len(c.pending) > maxPending {
			return c.settle()
		}
	}
	return nil
}

// endedEarly counts an entry that the kernel removed before its time.
func (c *ends) endedEarly(e nf.Entry) {
	if mayCollect(e) {
		c.early++
	} else {
		c.counts.Removed++
	}
}

// judge decides about the entries that ended early and could be collected: they were not unless the table was almost
// full. Call it soon after add, because the table may be emptier later.
func (c *ends) judge() {
	switch n := uint64(c.early); {
	case n == 0:
	case c.full(c.early):
		c.counts.early += n
	default:
		c.counts.Removed += n
	}
	c.early = 0
}

// settle decides about the pending entries, for which the event alone is not enough. Call it after the packets were
// processed: a replacing entry is in the table only once its packet was confirmed, some time after the event.
func (c *ends) settle() error {
	for _, e := range c.pending {
		replaced, err := c.replaced(e)
		if err != nil {
			return err
		}
		if replaced {
			c.counts.ByPacket++
		} else {
			c.endedEarly(e)
		}
	}
	c.pending = c.pending[:0]
	c.judge()
	return nil
}

// replaced reports whether another entry now has one of the tuples of e.
func (c *ends) replaced(e nf.Entry) (bool, error) {
	for dir, tuple := range map[nf.Direction]nf.Tuple{nf.Original: e.Orig, nf.Reply: e.Reply} {
		_, err := c.table.Get(tuple, e.ZoneOf(dir))
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return false, nil
}
