package ctnl

import (
	"bytes"
	"encoding/hex"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Numbers of include/uapi/linux/netfilter/nfnetlink_conntrack.h that only the decoder needs; see also get_linux.go.
const (
	ctaEntryTupleOrig  = 1
	ctaEntryTupleReply = 2
	ctaEntryStatus     = 3
	ctaEntryProtoInfo  = 4
	ctaEntryHelp       = 5
	ctaEntryTimeout    = 7
	ctaEntryMark       = 8
	ctaEntryPackets    = 9 // CTA_COUNTERS_ORIG
	ctaEntryPackets2   = 10
	ctaEntryID         = 12
	ctaEntryZone       = 18
	ctaEntryLabels     = 22
	ctaEntryEventTime  = 27 // CTA_TIMESTAMP_EVENT, since 601731fc7c61 "netfilter: conntrack: add conntrack event timestamp"

	ctaHelpName     = 1
	ctaCountPackets = 1
	ctaCountBytes   = 2
	ctaInfoTCP      = 1
	ctaInfoTCPState = 1
)

// DecodeEntry returns the entry that the body of a message of ctnetlink holds, an answer or an event, which begins at
// an offset in the datagram that errors name. What is not whole, has a wrong size or belongs to a tuple and is unknown is
// an error; other attributes that are unknown, as later kernels may add, are passed over.
func DecodeEntry(body []byte, at int) (nf.Entry, error) {
	e, _, err := DecodeEvent(body, at)
	return e, err
}

// DecodeEvent is DecodeEntry of an event: when is the moment that the kernel itself tells, or zero.
func DecodeEvent(body []byte, at int) (e nf.Entry, when time.Time, err error) {
	attrs, at, err := Body(body, at)
	if err != nil {
		return e, when, err
	}
	var timeout uint32
	var nanoseconds uint64
	err = Attributes(attrs, at, func(typ uint16, at int, b []byte) error {
		v := value{typ, at, b}
		switch typ {
		case ctaEntryTupleOrig:
			return decodeTuple(&e.Orig, b, at)
		case ctaEntryTupleReply:
			return decodeTuple(&e.Reply, b, at)
		case ctaEntryStatus:
			return v.u32((*uint32)(&e.Status))
		case ctaEntryProtoInfo:
			return decodeProtoInfo(&e, b, at)
		case ctaEntryHelp:
			return decodeHelp(&e, b, at)
		case ctaEntryTimeout:
			return v.u32(&timeout)
		case ctaEntryMark:
			return v.u32(&e.Mark)
		case ctaEntryPackets:
			return decodeCounts(&e.Packets.Orig, &e.Bytes.Orig, b, at)
		case ctaEntryPackets2:
			return decodeCounts(&e.Packets.Reply, &e.Bytes.Reply, b, at)
		case ctaEntryID:
			return v.u32(&e.ID)
		case ctaEntryZone:
			return v.u16(&e.Zone)
		case ctaEntryLabels:
			e.Labels = hex.EncodeToString(bytes.TrimRight(b, "\x00"))
		case ctaEntryEventTime:
			return v.u64(&nanoseconds)
		}
		return nil
	})
	e.Timeout = time.Duration(timeout) * time.Second
	if nanoseconds > 0 && int64(nanoseconds) > 0 {
		when = time.Unix(0, int64(nanoseconds))
	}
	return e, when, err
}

func decodeProtoInfo(e *nf.Entry, b []byte, at int) error {
	return Attributes(b, at, func(typ uint16, at int, b []byte) error {
		if typ != ctaInfoTCP {
			return nil
		}
		return Attributes(b, at, func(typ uint16, at int, b []byte) error {
			if typ != ctaInfoTCPState {
				return nil
			}
			return value{typ, at, b}.u8((*uint8)(&e.State))
		})
	})
}

func decodeHelp(e *nf.Entry, b []byte, at int) error {
	return Attributes(b, at, func(typ uint16, at int, b []byte) error {
		if typ == ctaHelpName {
			e.Helper = value{typ, at, b}.text()
		}
		return nil
	})
}

func decodeCounts(packets, octets *uint64, b []byte, at int) error {
	return Attributes(b, at, func(typ uint16, at int, b []byte) error {
		switch typ {
		case ctaCountPackets:
			return value{typ, at, b}.u64(packets)
		case ctaCountBytes:
			return value{typ, at, b}.u64(octets)
		}
		return nil
	})
}
