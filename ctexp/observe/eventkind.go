package observe

import "github.com/ctexp/go-ctexp/internal/nfnl"

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
