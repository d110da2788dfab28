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

// Event is a change of the conntrack table.
type Event struct {
	Kind    EventKind      // what happened
	Time    time.Time      // when it happened, if the kernel reports it (since 6.14), else zero
	Entry   nf.Entry       // the entry, for New, Update and Destroy
	Expect  nf.Expectation // the expectation, for ExpectNew and ExpectDestroy
	Unknown *UnknownError  // the first skipped attribute; nil if there is none
}

// KindOf returns the kind of the event in msg, which includes the headers; zero if msg is not an event. port is the
// netlink port of the socket whose request caused the event, or zero if no request did. Only the header is decoded.
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

// EventBody returns the body of an event and its offset, for DecodeEntry and DecodeEnd.
func EventBody(msg []byte) (body []byte, at int) { return msg[HeaderSize:], HeaderSize }

// DecodeEvent decodes the event msg of a kind that KindOf has returned.
func DecodeEvent(kind EventKind, msg []byte) (Event, error) {
	e := Event{Kind: kind}
	body, at := EventBody(msg)
	var err error
	switch kind {
	case ExpectNew, ExpectDestroy:
		e.Expect, e.Unknown, err = DecodeWholeExpectation(body, at)
	default:
		var d entryDecoder
		err = d.decode(body, at)
		e.Entry, e.Time, e.Unknown = d.e, d.when, d.first
	}
	return e, err
}
