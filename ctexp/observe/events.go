package observe

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// Event is a change of the conntrack table.
type Event struct {
	// Time is when the change happened, if the kernel reports that (since 6.14, with
	// net.netfilter.nf_conntrack_timestamp=1, which an Env sets); otherwise when the event was read, which is shortly
	// after. For expectations it is always the latter.
	Time time.Time
	Kind EventKind // what changed
	// Entry is the entry after the change, as far as the event has it: UPDATE and DESTROY have only some attributes.
	// It is zero for events of expectations and for EventLost.
	Entry nf.Entry
	// Expect is the expectation of an EventExpectNew or EventExpectDestroy, otherwise zero.
	Expect nf.Expectation
	// ByNetlink says that a netlink request caused the change, rather than a packet or a timeout.
	ByNetlink bool
}

// String prints the event without its time on one line: "NEW tcp SYN_SENT src=198.18.0.2 …".
func (e Event) String() string {
	switch {
	case e.Kind.IsExpect():
		return e.Kind.String() + " " + e.Expect.String()
	case e.Kind.ofEntry():
		return e.Kind.String() + " " + e.Entry.String()
	}
	return e.Kind.String()
}

// Short prints what happened to an entry without naming the entry, with the state of TCP and with [ASSURED] once it
// is: "NEW SYN_SENT", "UPDATE ESTABLISHED [ASSURED]", "DESTROY".
func (e Event) Short() string {
	s := e.Kind.String()
	if !e.Kind.ofEntry() || e.Kind == EventDestroy {
		return s // not every kernel reports the state in which an entry ends
	}
	if e.Entry.Orig.Proto == nf.TCP && e.Entry.State != nf.TCPNone {
		s += " " + e.Entry.State.String()
	}
	if e.Entry.Status.Has(nf.Assured) {
		s += " [ASSURED]"
	}
	return s
}

// EventKind is the kind of an Event.
type EventKind uint8

// The kinds of events. The first five are the kernel's (include/uapi/linux/netfilter/nfnetlink_compat.h,
// NF_NETLINK_CONNTRACK_NEW and so on). The other two mark where events are missing.
const (
	EventNew           = EventKind(nfnl.New)           // an entry was confirmed, or created by netlink
	EventUpdate        = EventKind(nfnl.Update)        // an entry changed
	EventDestroy       = EventKind(nfnl.Destroy)       // an entry was removed
	EventExpectNew     = EventKind(nfnl.ExpectNew)     // an expectation was created
	EventExpectDestroy = EventKind(nfnl.ExpectDestroy) // an expectation was removed
	// EventLost marks the place, in order of time, where events are missing because the receive buffer was full.
	EventLost EventKind = iota + 1
	// EventResync follows an EventLost once for each entry that the table had when it was read again. Entries without
	// an EventResync no longer exist. The events after it may be older than that reading; after them all, the state
	// is current.
	EventResync
)

var eventNames = [...]string{
	EventNew: "NEW", EventUpdate: "UPDATE", EventDestroy: "DESTROY",
	EventExpectNew: "EXPECT_NEW", EventExpectDestroy: "EXPECT_DESTROY",
	EventLost: "LOST", EventResync: "RESYNC",
}

// String returns the kernel's name in capitals: "NEW".
func (k EventKind) String() string {
	if int(k) < len(eventNames) && eventNames[k] != "" {
		return eventNames[k]
	}
	return "UNKNOWN"
}

// IsExpect reports whether the event concerns an expectation.
func (k EventKind) IsExpect() bool { return k == EventExpectNew || k == EventExpectDestroy }

// ofEntry reports whether an event of this kind has an Entry.
func (k EventKind) ofEntry() bool { return !k.IsExpect() && k != EventLost }

// Life returns what happened to the entry that has flow as its original or reply tuple, in the form of Event.Short:
//
//	[]string{"NEW SYN_SENT", "UPDATE SYN_RECV", "UPDATE ESTABLISHED [ASSURED]", "DESTROY"}
//
// If the flow had several entries, one after the other, it returns the events of all. The same holds for entries in
// different zones; pass the events of one zone to separate them. Where events of any flow are missing it has "LOST",
// and after the last of these "RESYNC …" if the entry still existed. That something never happened is tested like
// this:
//
//	!slices.Contains(observe.Life(events, flow), "UPDATE SYN_RECV")
func Life(events []Event, flow nf.Tuple) []string {
	var life []string
	for _, e := range events {
		if e.Kind == EventLost || e.Kind.ofEntry() && (e.Entry.Orig == flow || e.Entry.Reply == flow) {
			life = append(life, e.Short())
		}
	}
	return life
}

// Lives returns the Life of each flow in the events, keyed by both of its tuples, in one pass. If events are missing,
// the zero Tuple has the Life of every other flow: one "LOST" for each gap.
//
// Like Life it ignores zones: flows with the same tuple in two zones share one Life.
func Lives(events []Event) map[nf.Tuple][]string {
	lives := map[nf.Tuple][]string{}
	var gaps []string
	live := func(t nf.Tuple, what string) {
		life, known := lives[t]
		if !known {
			life = append(life, gaps...) // the gaps before its first event
		}
		lives[t] = append(life, what)
	}
	for _, e := range events {
		switch {
		case e.Kind == EventLost:
			gaps = append(gaps, e.Short())
			for t, life := range lives {
				lives[t] = append(life, e.Short())
			}
		case e.Kind.ofEntry():
			live(e.Entry.Orig, e.Short())
			if e.Entry.Reply != e.Entry.Orig {
				live(e.Entry.Reply, e.Short())
			}
		}
	}
	if gaps != nil {
		lives[nf.Tuple{}] = gaps
	}
	return lives
}

// eventDecoder decodes events and keeps the first unknown attribute or value that it meets.
type eventDecoder struct{ unknown *nfnl.UnknownError }

// decode decodes a netlink message, including its header, that was read at the time read. ok is false if it is not an
// event.
func (d *eventDecoder) decode(msg []byte, read time.Time) (e Event, ok bool, err error) {
	kind, port, err := nfnl.KindOf(msg)
	if kind == 0 || err != nil {
		return Event{}, false, err
	}
	e = Event{Time: read, Kind: EventKind(kind), ByNetlink: port != 0}
	body, at := nfnl.EventBody(msg)
	var unknown *nfnl.UnknownError
	if e.Kind.IsExpect() {
		e.Expect, unknown, err = nfnl.DecodeWholeExpectation(body, at)
	} else {
		var when time.Time
		if e.Entry, when, unknown, err = nfnl.DecodeEvent(body, at); !when.IsZero() {
			e.Time = when
		}
	}
	if err != nil {
		return Event{}, false, fmt.Errorf("decode event %v: %w", e.Kind, err)
	}
	d.unknown = cmp.Or(d.unknown, unknown)
	return e, true, nil
}

// err returns the first unknown attribute or value as an error.
func (d *eventDecoder) err() error {
	if d.unknown == nil {
		return nil
	}
	return d.unknown
}

// fate is why an entry that netlink did not delete was removed.
type fate int

const (
	timedOut      fate = iota // its own time was over
	early                     // evicted or collected, or removed with an interface
	endedByPacket             // a packet ended it
	maybeReplaced             // a packet replaced it by a new entry of the same tuple; if the table has no such entry: early
)

// fateOf determines the fate from the DESTROY event alone. Three things remove an entry that has not timed out and
// that netlink did not delete: the kernel, by early_drop, by the garbage collector or with an interface; a RST on a flow
// that never had a reply (net/netfilter/nf_conntrack_proto_tcp.c, nf_conntrack_tcp_packet, state CLOSE); a SYN that
// reopens a closed connection (the same function, TIME_WAIT or CLOSE), or a new flow whose NAT takes over the tuple of
// one (nf_nat_core.c).
//
// Kernels without kernel.EndsTold report neither the remaining timeout nor the state, so that the fate is not known.
func fateOf(e nf.Entry) fate {
	switch {
	case e.Timeout == 0:
		return timedOut
	case e.State == nf.Close && !e.Status.Has(nf.SeenReply):
		return endedByPacket
	case e.State == nf.Close || e.State == nf.TimeWait:
		return maybeReplaced
	}
	return early
}

// mayCollect reports whether the garbage collector of an almost full table may remove an entry before its time
// (net/netfilter/nf_conntrack_core.c, gc_worker_can_early_drop; nf_conntrack_proto_tcp.c, tcp_can_early_drop).
func mayCollect(e nf.Entry) bool {
	switch e.State {
	case nf.FinWait, nf.LastAck, nf.TimeWait, nf.Close, nf.CloseWait:
		return true
	}
	return !e.Status.Has(nf.Assured)
}

// endCounts counts removed entries. Those of early may have been collected, the others were certainly not.
type endCounts struct {
	Ended
	early uint64 // removed before their time, while the table was almost full and they could be evicted or collected
}

func (c endCounts) sub(before endCounts) endCounts {
	subtract(c.counts(), before.counts())
	c.early -= before.early
	return c
}

// eventlog stores the messages of events as the kernel sent them. They are decoded when they are read.
type eventlog struct {
	mu        sync.Mutex
	limit     int // of events, here and in the queue of each follower
	kept      eventQueue
	lost      lostEvents
	memory    []byte // the unused rest of a buffer that several pieces share
	followers map[*follower]struct{}
	fresh     chan struct{} // closed when there is more; nil while nobody waits
	closed    bool
}

const eventlogPiece = 64 << 10

// add stores copies of the n messages of one read and passes them on to the followers.
func (l *eventlog) add(read time.Time, n int, message func(i int) []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kept.events >= l.limit && len(l.followers) == 0 {
		l.lost.beyond += n
	} else {
		l.put(eventPiece{read: read, messages: l.copy(n, message), events: n})
	}
	l.wake()
}

// overrun records that events are missing after those added so far.
func (l *eventlog) overrun(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost.overruns++
	l.put(eventPiece{read: now, gap: true})
	l.wake()
}

func (l *eventlog) put(p eventPiece) {
	for f := range l.followers {
		f.put(p, l.limit)
	}
	l.lost.beyond += l.kept.put(p, l.limit)
}

func (l *eventlog) copy(n int, message func(i int) []byte) []byte {
	size := 0
	for i := range n {
		size += len(message(i))
	}
	if size > len(l.memory) {
		l.memory = make([]byte, max(size, eventlogPiece))
	}
	b := l.memory[:0:size]
	for i := range n {
		b = append(b, message(i)...)
	}
	l.memory = l.memory[size:]
	return b
}

// snapshot returns the events so far, which are not modified later, and what is missing among them.
func (l *eventlog) snapshot() ([]eventPiece, lostEvents) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.kept.pieces
	return p[:len(p):len(p)], l.lost
}

// count returns how many events are kept.
func (l *eventlog) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept.events
}

// next returns a channel that is closed when there are more events than now, or when the log is closed.
func (l *eventlog) next() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fresh == nil {
		l.fresh = make(chan struct{})
	}
	c := l.fresh
	if l.closed {
		l.wake()
	}
	return c
}

// wake wakes those that wait for next. The caller holds the lock.
func (l *eventlog) wake() {
	if l.fresh != nil {
		close(l.fresh)
		l.fresh = nil
	}
}

// close wakes all that wait; from then on nobody waits.
func (l *eventlog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for f := range l.followers {
		f.wake()
	}
	l.wake()
}

// lostEvents counts the missing events.
type lostEvents struct {
	overruns int // how often the receive buffer was full; the kernel does not count the events that it could not hold
	beyond   int // events beyond the limit
}

const overrunHint = "call Observer.Drain more often, or set a larger Config.EventBuffer, which net.core.rmem_max limits for an ordinary user"

// String says what is missing and why.
func (l lostEvents) String() string {
	var s []string
	switch {
	case l.overruns == 1:
		s = append(s, "the receive buffer was full once ("+overrunHint+")")
	case l.overruns > 1:
		s = append(s, fmt.Sprintf("the receive buffer was full %d times (%s)", l.overruns, overrunHint))
	}
	if l.beyond > 0 {
		s = append(s, fmt.Sprintf("%d exceeded the limit of the Config", l.beyond))
	}
	return strings.Join(s, ", ")
}

// eventQueue holds events in the kernel's order, up to a limit.
type eventQueue struct {
	pieces []eventPiece
	events int
}

// eventPiece is the result of one read, whole netlink messages one after the other, or a gap where events are
// missing.
type eventPiece struct {
	read     time.Time
	messages []byte
	events   int
	gap      bool
}

// put appends as much of p as fits and returns how many events did not fit.
func (q *eventQueue) put(p eventPiece, limit int) (beyond int) {
	if beyond = q.events + p.events - limit; beyond > 0 {
		p = p.first(p.events - beyond)
	}
	if p.events > 0 || p.gap {
		q.pieces = append(q.pieces, p)
		q.events += p.events
	}
	return max(beyond, 0)
}

// first returns the piece with only its first n events.
func (p eventPiece) first(n int) eventPiece {
	end := 0
	for range n {
		end += messageLen(p.messages[end:])
	}
	p.messages, p.events = p.messages[:end:end], n
	return p
}

// each yields the messages of the piece.
func (p eventPiece) each(yield func(msg []byte) bool) {
	for b := p.messages; len(b) > 0; {
		n := messageLen(b)
		if !yield(b[:n:n]) {
			return
		}
		b = b[n:]
	}
}

// messageLen returns the length of the first message in b. The queue only has whole messages.
func messageLen(b []byte) int { return int(binary.NativeEndian.Uint32(b)) }

// follower is the queue of one Observer.Follow.
type follower struct {
	ready chan struct{} // has one value when there is something new

	mu    sync.Mutex
	queue eventQueue
	full  bool // the queue reached its limit since the last take: events are missing
}

// follow returns a follower of the events from now on.
func (l *eventlog) follow() *follower {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := &follower{ready: make(chan struct{}, 1)}
	if l.followers == nil {
		l.followers = map[*follower]struct{}{}
	}
	l.followers[f] = struct{}{}
	if l.closed {
		f.wake()
	}
	return f
}

// leave removes a follower.
func (l *eventlog) leave(f *follower) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.followers, f)
}

func (f *follower) put(p eventPiece, limit int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.full {
		return
	}
	if f.queue.put(p, limit) > 0 {
		f.full = true
		f.queue.put(eventPiece{read: p.read, gap: true}, limit)
	}
	f.wake()
}

func (f *follower) wake() {
	select {
	case f.ready <- struct{}{}:
	default: // it was woken already
	}
}

// take returns the queued events and empties the queue.
func (f *follower) take() []eventPiece {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.queue.pieces
	f.queue, f.full = eventQueue{}, false
	return p
}
