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

// Event is one thing that happened to the conntrack table.
type Event struct {
	// Time is when it happened, where the kernel says so (since 6.14, with net.netfilter.nf_conntrack_timestamp=1, which an
	// Env has), else when the event was read, which is soon after. Of expectations the kernel says nothing.
	Time time.Time
	Kind EventKind
	// Entry is what the event tells of the entry, as it is after it: of an UPDATE and a DESTROY not all that the table
	// has. It is zero for events of expectations and for EventLost.
	Entry nf.Entry
	// Expect is the expectation for EventExpectNew and EventExpectDestroy, else zero.
	Expect nf.Expectation
	// Asked says that somebody has asked for it by netlink, rather than a packet or time having done it.
	ByNetlink bool
}

// String prints the event in one line without its time: "NEW tcp SYN_SENT src=198.18.0.2 …".
func (e Event) String() string {
	switch {
	case e.Kind.IsExpect():
		return e.Kind.String() + " " + e.Expect.String()
	case e.Kind.ofEntry():
		return e.Kind.String() + " " + e.Entry.String()
	}
	return e.Kind.String()
}

// Short prints what happened to an entry without saying to which: the state of TCP, and [ASSURED] from when on it is:
// "NEW SYN_SENT", "UPDATE ESTABLISHED [ASSURED]", "DESTROY".
func (e Event) Short() string {
	s := e.Kind.String()
	if !e.Kind.ofEntry() || e.Kind == EventDestroy {
		return s // in what state an entry ends, not every kernel tells
	}
	if e.Entry.Orig.Proto == nf.TCP && e.Entry.State != nf.TCPNone {
		s += " " + e.Entry.State.String()
	}
	if e.Entry.Status.Has(nf.Assured) {
		s += " [ASSURED]"
	}
	return s
}

// EventKind is what an Event tells.
type EventKind uint8

// The kinds of events. The first five are the kernel's (include/uapi/linux/netfilter/nfnetlink_compat.h,
// NF_NETLINK_CONNTRACK_NEW and so on); the other two stand where events are missing.
const (
	EventNew           = EventKind(nfnl.New)           // an entry was confirmed, or made by netlink
	EventUpdate        = EventKind(nfnl.Update)        // an entry has changed
	EventDestroy       = EventKind(nfnl.Destroy)       // an entry is gone
	EventExpectNew     = EventKind(nfnl.ExpectNew)     // an expectation was made
	EventExpectDestroy = EventKind(nfnl.ExpectDestroy) // an expectation is gone
	// EventLost says that here, in the order of time, events are missing: the receive buffer was full.
	EventLost EventKind = iota + 1
	// EventResync stands behind an EventLost once for each entry that the table has when it was read again. What is not
	// among them is gone. The events behind them, which the re-read may have overtaken, lead to what there is now.
	EventResync
)

var eventNames = [...]string{
	EventNew: "NEW", EventUpdate: "UPDATE", EventDestroy: "DESTROY",
	EventExpectNew: "EXPECT_NEW", EventExpectDestroy: "EXPECT_DESTROY",
	EventLost: "LOST", EventResync: "RESYNC",
}

// String returns the name in capitals: "NEW".
func (k EventKind) String() string {
	if int(k) < len(eventNames) && eventNames[k] != "" {
		return eventNames[k]
	}
	return "UNKNOWN"
}

// IsExpect reports whether the event is one of an expectation.
func (k EventKind) IsExpect() bool { return k == EventExpectNew || k == EventExpectDestroy }

// ofEntry reports whether an event of this kind has an Entry.
func (k EventKind) ofEntry() bool { return !k.IsExpect() && k != EventLost }

// Life returns what happened to the entry that has flow as one of its tuples, as Event.Short prints it:
//
//	[]string{"NEW SYN_SENT", "UPDATE SYN_RECV", "UPDATE ESTABLISHED [ASSURED]", "DESTROY"}
//
// A flow that comes twice has both lives, one behind the other, and so has one that comes in two zones: to tell these apart,
// pass the events of one zone. Where events are missing, whoever's they were, it has
// "LOST", and behind the last of these "RESYNC …" if the entry was still there then. What never happens is not among them:
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

// Lives returns the Life of each flow that the events tell of, by both of its tuples, in one pass over the events. What
// Life returns for a flow that they do not tell of, "LOST" for each gap and nothing else, is under the zero Tuple if there
// is a gap.
//
// Like Life it does not look at zones: flows of the same tuple in two zones have one life. Who has such flows hands it the
// events of one zone at a time.
func Lives(events []Event) map[nf.Tuple][]string {
	lives := map[nf.Tuple][]string{}
	var gaps []string
	live := func(t nf.Tuple, what string) {
		life, known := lives[t]
		if !known {
			life = append(life, gaps...) // those that were before it
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

// eventDecoder decodes events and remembers the first thing in them that this package does not know.
type eventDecoder struct{ unknown *nfnl.UnknownError }

// decode decodes one netlink message, header included, that was read at a time. ok is false for one that is no event.
func (d *eventDecoder) decode(msg []byte, read time.Time) (e Event, ok bool, err error) {
	kind, asked, err := nfnl.KindOf(msg)
	if kind == 0 || err != nil {
		return Event{}, false, err
	}
	e = Event{Time: read, Kind: EventKind(kind), ByNetlink: asked != 0}
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

// err returns what was unknown as an error.
func (d *eventDecoder) err() error {
	if d.unknown == nil {
		return nil
	}
	return d.unknown
}

// fate is why an entry that nobody deleted is gone.
type fate int

const (
	removed       fate = iota // evicted, collected, or its time was over
	endedByPacket             // a packet ended it
	maybeReplaced             // a packet replaced it by a new entry of the same tuple; if there is none: unasked
)

// fateOf tells from the DESTROY event of an entry alone. Three things end an entry that has time left and that nobody
// deleted: early_drop and the garbage collector; a RST on a flow that never had an answer
// (net/netfilter/nf_conntrack_proto_tcp.c, nf_conntrack_tcp_packet, state CLOSE); a SYN that opens a closed connection again
// (there, TIME_WAIT or CLOSE), or a new flow whose NAT takes the place of one (nf_nat_core.c).
//
// Kernels before 86d21fc74745 ("netfilter: ctnetlink: add timeout and protoinfo to destroy events") tell neither the time
// that was left nor the state: there all count as unasked.
func fateOf(e nf.Entry) fate {
	switch {
	case e.Timeout == 0:
		return removed
	case e.State == nf.Close && !e.Status.Has(nf.SeenReply):
		return endedByPacket
	case e.State == nf.Close || e.State == nf.TimeWait:
		return maybeReplaced
	}
	return removed
}

// eventlog keeps the messages of events as the kernel sent them; they are decoded when somebody wants to know.
type eventlog struct {
	mu        sync.Mutex
	limit     int // of events kept, here and for each that follows
	kept      eventQueue
	lost      lostEvents
	memory    []byte // what is left of a piece of memory that several pieces share
	followers map[*follower]struct{}
	fresh     chan struct{} // closed when there is more; nil while nobody waits
	closed    bool
}

const eventlogPiece = 64 << 10

// add keeps copies of the n messages that one read gave, and hands them to whoever follows.
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

// overrun says that events are missing behind those that were added so far.
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

// snapshot returns the events so far, which later ones do not change, and what is missing among them.
func (l *eventlog) snapshot() ([]eventPiece, lostEvents) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.kept.pieces
	return p[:len(p):len(p)], l.lost
}

// next returns what is closed when there is more than now, or when the log is closed.
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

// wake must be called with the lock held.
func (l *eventlog) wake() {
	if l.fresh != nil {
		close(l.fresh)
		l.fresh = nil
	}
}

// close wakes all that wait, from now on at once.
func (l *eventlog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for f := range l.followers {
		f.wake()
	}
	l.wake()
}

// lostEvents counts what is missing among the events.
type lostEvents struct {
	overruns int // how often the receive buffer was full; what it could not hold nobody counts
	beyond   int // came when the limit was reached
}

const overrunHint = "call Observer.Drain more often, or ask for a larger Config.EventBuffer, which net.core.rmem_max bounds for an ordinary user"

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
		s = append(s, fmt.Sprintf("%d came when as many were kept as the Config allows", l.beyond))
	}
	return strings.Join(s, ", ")
}

// eventQueue has events in the kernel's order, up to a limit.
type eventQueue struct {
	pieces []eventPiece
	events int
}

// eventPiece is what one read gave: whole netlink messages one behind the other; or the place where events are missing.
type eventPiece struct {
	read     time.Time
	messages []byte
	events   int
	gap      bool
}

// put appends as much of p as fits and returns how many events did not.
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

// first returns the piece with its first n events only.
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

// messageLen returns how long the first message of b is. That b has it whole, who filled the queue has seen to.
func messageLen(b []byte) int { return int(binary.NativeEndian.Uint32(b)) }

// follower is the queue of one that follows the events while they come.
type follower struct {
	ready chan struct{} // has one value when there is something new

	mu    sync.Mutex
	queue eventQueue
	full  bool // events were missed since the last take: the queue was at its limit
}

// follow returns a follower of what comes from now on.
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

// leave ends the following.
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
	default: // it is awake
	}
}

// take returns what has come and empties the queue.
func (f *follower) take() []eventPiece {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.queue.pieces
	f.queue, f.full = eventQueue{}, false
	return p
}
