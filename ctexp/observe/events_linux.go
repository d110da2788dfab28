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
	"github.com/ctexp/go-ctexp/internal/mmsg"
	"github.com/ctexp/go-ctexp/internal/nfnl"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// Events returns what happened to the conntrack table since the Observer was opened until the iteration begins, flows
// and expectations, in the kernel's order. After an Inject that is all that its packets have done. The filler has no
// events.
//
// Where events are missing, an EventLost stands in their place, the last one followed by what the table has now, and the
// iteration ends in ErrEventsLost: the receive buffer was full (call Drain while sending, or ask for a larger
// EventBuffer), or MaxEvents was reached. An attribute that this package does not know, as later kernels may add, is passed
// over; it is the error at the end. With Config.NoEvents, and in a namespace where
// net.netfilter.nf_conntrack_events was 0, the error is an nf.UnsupportedError.
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
	if err := o.events.Drain(); err != nil {
		return nil, lostEvents{}, err
	}
	pieces, lost := o.events.log.snapshot()
	return pieces, lost, nil
}

// replay yields events. Where several gaps are, the table of now tells only what they have come to behind the last.
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

// yieldPiece yields the events of a piece.
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
		if !ok || e.Entry.Zone == ours.FillerZone {
			continue
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

// resync yields what the table has.
func (o *Observer) resync(ctx context.Context, yield func(Event, error) bool) error {
	entries, err := o.flows(ctx, nf.Filter{})
	if err != nil {
		return fmt.Errorf("read the table again: %w", err)
	}
	now := time.Now()
	for _, e := range entries {
		if err := o.interrupted(ctx); err != nil {
			return err
		}
		if !yield(Event{Time: now, Kind: EventResync, Entry: e}, nil) {
			return errStop
		}
	}
	return nil
}

// errStop says that the one who iterates wants no more.
var errStop = errors.New("iteration stopped")

// Follow returns what happens to the conntrack table from when the iteration begins on, and waits for more. It ends with
// the error of ctx when that is over, or with os.ErrClosed when the Observer is closed.
//
// Where events are missing it goes on: an EventLost says so, and an EventResync for each entry says what the table has
// then, from which one can go on, too. The error at the end is ErrEventsLost as well in that case. Who follows has to keep
// up: what waits to be taken is bounded by MaxEvents, beyond which events are missing as well.
func (o *Observer) Follow(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if err := o.follow(ctx, yield); err != errStop {
			yield(Event{}, fmt.Errorf("follow events: %w", err))
		}
	}
}

func (o *Observer) follow(ctx context.Context, yield func(Event, error) bool) error {
	if _, _, err := o.readEvents(ctx); err != nil { // what came before is out of the way
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

// followOn hands on what comes until ctx ends, the Observer is closed, or hand fails.
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

// NextEvent returns a channel that is closed when the next event is recorded, or the Observer is closed. Who waits for
// something that shows in the table gets the channel first, then looks, and then waits. Where there are no events the
// channel is nil, on which nothing is ever received.
func (o *Observer) NextEvent() <-chan struct{} {
	if o.events.missing != nil {
		return nil
	}
	return o.events.log.next()
}

// eventWatch hears the events of the conntrack table. It counts the entries that left unasked and, unless the Config
// has NoEvents, keeps all events.
type eventWatch struct {
	*mmsg.Pump
	collected collected // with the Pump locked
	overruns  int       // likewise
	congested bool      // likewise: events are missing behind those that are still in the receive buffer
	log       *eventlog // nil: only the ends of entries are heard
	missing   error     // why there are no events, whatever log is
}

// forcedBuffer holds 200,000 events where the host's root asks for it; others get what net.core.rmem_max allows. It is a
// bound: memory is used only for what waits to be read.
const forcedBuffer = 128 << 20

// watchEvents must be called on a thread in the namespace.
func watchEvents(cfg Config, table *nfnl.Conn) (*eventWatch, error) {
	w := &eventWatch{collected: collected{table: table}, missing: eventsAreOn()}
	groups, filter := []uint32{unix.NFNLGRP_CONNTRACK_DESTROY}, nfnl.PassUnasked()
	if cfg.NoEvents {
		w.missing = &nf.UnsupportedError{Need: "events", Hint: "the Observer was opened with NoEvents"}
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

// eventsAreOn looks whether the kernel makes events at all.
func eventsAreOn() error {
	switch v, err := readSysctl("nf_conntrack_events"); {
	case err != nil:
		return &nf.UnsupportedError{Need: "events", Hint: "a kernel with CONFIG_NF_CONNTRACK_EVENTS", Err: err}
	case v == "0":
		return &nf.UnsupportedError{Need: "events", Hint: "net.netfilter.nf_conntrack_events is 0 in the namespace; 1 asks for them"}
	}
	return nil
}

// read takes what is queued.
func (w *eventWatch) read(fd int, _ bool) error {
	err := nfnl.ReadAll(fd, w.overrun, w.addBatch)
	if err != nil {
		return fmt.Errorf("receive conntrack events: %w", err)
	}
	w.bufferEmpty()
	return nil
}

// overrun is told when the receive buffer was full. The kernel tells it first, but adds nothing more until the buffer is
// empty (net/netlink/af_netlink.c, NETLINK_S_CONGESTED): the gap is behind what is still there.
func (w *eventWatch) overrun() {
	w.overruns++
	w.congested = true
}

// some takes n events.
func (w *eventWatch) addBatch(b *mmsg.Buffer, n int) error {
	for i := range n {
		if err := w.countRemoved(b.Payload(i)); err != nil {
			return err
		}
	}
	if w.log != nil {
		w.log.add(time.Now(), n, b.Payload)
	}
	if n < mmsg.BufferLen {
		w.bufferEmpty()
	}
	return nil
}

// emptied is told when the receive buffer was empty.
func (w *eventWatch) bufferEmpty() {
	if w.congested && w.log != nil {
		w.log.overrun(time.Now())
	}
	w.congested = false
}

// one looks at a message for its header's sake and for what it says about an end.
func (w *eventWatch) countRemoved(msg []byte) error {
	kind, asked, err := nfnl.KindOf(msg)
	if err == nil && kind == nfnl.Destroy && asked == 0 {
		err = w.collected.add(msg)
	}
	return err
}

// unasked returns how many entries have left unasked until now.
func (w *eventWatch) removed() (uint64, error) {
	if err := w.Drain(); err != nil {
		return 0, err
	}
	w.Lock()
	defer w.Unlock()
	if err := w.collected.settle(); err != nil {
		return 0, err
	}
	if w.overruns > 0 {
		return 0, fmt.Errorf("%w: %v", ErrEventsLost, lostEvents{overruns: w.overruns})
	}
	return w.collected.count, nil
}

// stop ends the reading, and all that wait for events.
func (w *eventWatch) stop() {
	w.Pump.Stop()
	if w.log != nil {
		w.log.close()
	}
}

// collected counts the entries that left the table unasked, by those DESTROY events that nobody has asked for.
type collected struct {
	count   uint64
	pending []nf.Entry // of fate maybeReplaced
	table   *nfnl.Conn
}

// maxPending bounds what waits to be settled.
const maxPending = 1024

// add judges a DESTROY event.
func (c *collected) add(msg []byte) error {
	body, at := nfnl.EventBody(msg)
	end, err := nfnl.DecodeEnd(body, at)
	if err != nil || end.Zone == ours.FillerZone {
		return err
	}
	switch fateOf(end) {
	case removed:
		c.count++
	case maybeReplaced:
		gone, err := nfnl.DecodeEntry(body, at)
		if err != nil {
			return err
		}
		c.pending = append(c.pending, gone)
		if len(c.pending) > maxPending {
			return c.settle()
		}
	}
	return nil
}

// settle decides about entries of which the event alone does not tell. It is for when the packets are through: the
// entry that replaces another is in the table only when its packet was confirmed, a while after the event.
func (c *collected) settle() error {
	for _, gone := range c.pending {
		replaced, err := c.replaced(gone)
		if err != nil {
			return err
		}
		if !replaced {
			c.count++
		}
	}
	c.pending = c.pending[:0]
	return nil
}

// replaced reports whether another entry has one of the tuples of the one that is gone.
func (c *collected) replaced(gone nf.Entry) (bool, error) {
	for dir, tuple := range map[nf.Direction]nf.Tuple{nf.Original: gone.Orig, nf.Reply: gone.Reply} {
		_, err := c.table.Get(tuple, gone.ZoneOf(dir))
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return false, nil
}
