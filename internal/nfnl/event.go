package nfnl

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// EventKind is the kind of an Event (include/uapi/linux/netfilter/nfnetlink_compat.h, NF_NETLINK_CONNTRACK_NEW and
// following).
type EventKind uint8

// The kinds of events. Zero means that a message is not an event.
const (
	New           EventKind = iota + 1 // an entry was confirmed, or created by netlink
	Update                             // an entry was changed
	Destroy                            // an entry was destroyed
	ExpectNew                          // an expectation was created
	ExpectDestroy                      // an expectation was destroyed
)

// KindOf returns the kind of event of a message, or zero if it is not an event. It reads only the message's header.
// port is the netlink port of the socket whose request caused the event, or zero.
func KindOf(msg []byte) (kind EventKind, port uint32, err error) {
	if len(msg) < HeaderSize+GenSize {
		return 0, 0, fmt.Errorf("conntrack event of %d bytes: shorter than its header", len(msg))
	}
	if n := binary.NativeEndian.Uint32(msg); uint64(n) != uint64(len(msg)) {
		return 0, 0, fmt.Errorf("conntrack event of %d bytes: its length field is %d", len(msg), n)
	}
	switch binary.NativeEndian.Uint16(msg[typeOffset:]) {
	case msgEntryNew:
		// The flags distinguish New and Update (net/netfilter/nf_conntrack_netlink.c, ctnetlink_conntrack_event).
		kind = Update
		if binary.NativeEndian.Uint16(msg[flagsOffset:])&(flagCreate|flagExcl) != 0 {
			kind = New
		}
	case msgEntryDelete:
		kind = Destroy
	case msgExpectNew:
		kind = ExpectNew
	case msgExpectDelete:
		kind = ExpectDestroy
	}
	return kind, binary.NativeEndian.Uint32(msg[portOffset:]), nil
}

// EventBody returns the body of an event and its offset in the message. DecodeWholeExpectation reads the body of an
// expectation's event; DecodeEvent, DecodeEntry and DecodeEnd read the others.
func EventBody(msg []byte) (body []byte, at int) { return msg[HeaderSize:], HeaderSize }

// DecodeEvent is DecodeWhole for an event of an entry. It also returns the time of the event, which the kernel reports
// since Linux 6.14, else zero.
func DecodeEvent(body []byte, at int) (e nf.Entry, when time.Time, unknown *UnknownError, err error) {
	d := entryDecoder{e: &e}
	err = d.decode(body, at)
	return e, d.when, d.first, err
}
