package observe

import (
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
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
