package observe

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/ctexp/go-ctexp/internal/ctnl"
)

// The messages of events (include/uapi/linux/netfilter/nfnetlink.h and nfnetlink_conntrack.h).
const (
	msgCTNew     = 1 << 8   // NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_NEW: also of an update
	msgExpNew    = 2 << 8   // NFNL_SUBSYS_CTNETLINK_EXP, IPCTNL_MSG_EXP_NEW
	msgExpDelete = 2<<8 | 2 // IPCTNL_MSG_EXP_DELETE

	flagExcl   = 0x200 // NLM_F_EXCL
	flagCreate = 0x400 // NLM_F_CREATE
)

// eventDecoder decodes events and remembers the first thing in them that this package does not know.
type eventDecoder struct{ unknown *ctnl.UnknownError }

// decode decodes one netlink message, header included, that was read at a time. ok is false for one that is no event.
func (d *eventDecoder) decode(msg []byte, read time.Time) (e Event, ok bool, err error) {
	kind, ok, err := kindOf(msg)
	if !ok || err != nil {
		return Event{}, false, err
	}
	e = Event{Time: read, Kind: kind, Asked: askedFor(msg)}
	body := msg[nlmsgHeader:]
	var unknown *ctnl.UnknownError
	if kind.IsExpect() {
		e.Expect, unknown, err = ctnl.DecodeWholeExpectation(body, nlmsgHeader)
	} else {
		var when time.Time
		if e.Entry, when, unknown, err = ctnl.DecodeEvent(body, nlmsgHeader); !when.IsZero() {
			e.Time = when
		}
	}
	if err != nil {
		return Event{}, false, fmt.Errorf("decode event %v: %w", kind, err)
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

// kindOf tells from the header of a message, whose length must be that of msg.
func kindOf(msg []byte) (EventKind, bool, error) {
	if len(msg) < nlmsgHeader+nfgenmsg {
		return 0, false, fmt.Errorf("conntrack event of %d bytes: shorter than its header", len(msg))
	}
	if n := binary.NativeEndian.Uint32(msg); uint64(n) != uint64(len(msg)) {
		return 0, false, fmt.Errorf("conntrack event says that it has %d bytes, and has %d", n, len(msg))
	}
	switch binary.NativeEndian.Uint16(msg[4:]) {
	case msgCTNew:
		// Which of the two it is, the flags tell (net/netfilter/nf_conntrack_netlink.c, ctnetlink_conntrack_event).
		if binary.NativeEndian.Uint16(msg[6:])&(flagCreate|flagExcl) != 0 {
			return EventNew, true, nil
		}
		return EventUpdate, true, nil
	case msgCTDelete:
		return EventDestroy, true, nil
	case msgExpNew:
		return EventExpectNew, true, nil
	case msgExpDelete:
		return EventExpectDestroy, true, nil
	}
	return 0, false, nil
}

// askedFor reports whether a message names who asked for what it tells. The kernel's own events have 0 there.
func askedFor(msg []byte) bool { return binary.NativeEndian.Uint32(msg[12:]) != 0 }
