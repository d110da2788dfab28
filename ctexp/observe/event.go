package observe

import (
	"cmp"
	"fmt"
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
	Asked bool
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

// eventDecoder decodes events and remembers the first thing in them that this package does not know.
type eventDecoder struct{ unknown *nfnl.UnknownError }

// decode decodes one netlink message, header included, that was read at a time. ok is false for one that is no event.
func (d *eventDecoder) decode(msg []byte, read time.Time) (e Event, ok bool, err error) {
	kind, asked, err := nfnl.KindOf(msg)
	if kind == 0 || err != nil {
		return Event{}, false, err
	}
	m, err := nfnl.DecodeEvent(kind, msg)
	if err != nil {
		return Event{}, false, fmt.Errorf("decode event %v: %w", EventKind(kind), err)
	}
	if m.Time.IsZero() {
		m.Time = read
	}
	d.unknown = cmp.Or(d.unknown, m.Unknown)
	return Event{Time: m.Time, Kind: EventKind(kind), Entry: m.Entry, Expect: m.Expect, Asked: asked != 0}, true, nil
}

// err returns what was unknown as an error.
func (d *eventDecoder) err() error {
	if d.unknown == nil {
		return nil
	}
	return d.unknown
}
