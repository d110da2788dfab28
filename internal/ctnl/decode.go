package ctnl

import (
	"bytes"
	"encoding/hex"
	"errors"
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
	ctaEntryCounters   = 9 // CTA_COUNTERS_ORIG
	ctaEntryCounters2  = 10
	ctaEntryUse        = 11 // references
	ctaEntryID         = 12
	ctaEntryMaster     = 14
	ctaEntrySeqAdjust  = 15 // CTA_SEQ_ADJ_ORIG
	ctaEntrySeqAdjust2 = 16
	ctaEntrySecMark    = 17 // obsolete
	ctaEntryZone       = 18
	ctaEntrySecCtx     = 19
	ctaEntryTimestamp  = 20
	ctaEntryLabels     = 22
	ctaEntryLabelsMask = 23
	ctaEntrySynProxy   = 24
	ctaEntryEventTime  = 27 // CTA_TIMESTAMP_EVENT, since 601731fc7c61 "netfilter: conntrack: add conntrack event timestamp"
)

// DecodeEntry returns the entry that the body of a message of ctnetlink holds, an answer or an event, which begins at
// an offset in the datagram that errors name. What is not whole, has a wrong size or belongs to a tuple and is unknown is
// an error; other attributes that are unknown, as later kernels may add, are passed over.
func DecodeEntry(body []byte, at int) (nf.Entry, error) {
	e, _, err := DecodeWhole(body, at)
	return e, err
}

// DecodeEvent is DecodeWhole of an event: when is the moment that the kernel itself tells, or zero.
func DecodeEvent(body []byte, at int) (e nf.Entry, when time.Time, unknown *UnknownError, err error) {
	var d entryDecoder
	err = d.decode(body, at)
	return d.e, d.when, d.first, err
}

// DecodeWhole is DecodeEntry that tells of the first attribute that was passed over because it is unknown.
func DecodeWhole(body []byte, at int) (nf.Entry, *UnknownError, error) {
	var d entryDecoder
	err := d.decode(body, at)
	return d.e, d.first, err
}

type entryDecoder struct {
	unknowns
	e    nf.Entry
	when time.Time
}

func (d *entryDecoder) decode(body []byte, at int) error {
	attrs, at, err := Body(body, at)
	if err != nil {
		return err
	}
	return Attributes(attrs, at, func(typ uint16, at int, b []byte) error { return d.attribute(value{typ, at, b}) })
}

func (d *entryDecoder) attribute(v value) error {
	e := &d.e
	switch v.typ {
	case ctaEntryTupleOrig:
		return d.tuple(&e.Orig, nf.Original, v)
	case ctaEntryTupleReply:
		return d.tuple(&e.Reply, nf.Reply, v)
	case ctaEntryMaster:
		return v.plainTuple(&e.Master)
	case ctaEntryStatus:
		return v.u32((*uint32)(&e.Status))
	case ctaEntryProtoInfo:
		return d.protoInfo(v)
	case ctaEntryHelp:
		return d.help(v)
	case ctaEntryTimeout:
		return v.seconds(&e.Timeout)
	case ctaEntryMark:
		return v.u32(&e.Mark)
	case ctaEntryCounters:
		return d.counters(&e.Packets.Orig, &e.Bytes.Orig, v)
	case ctaEntryCounters2:
		return d.counters(&e.Packets.Reply, &e.Bytes.Reply, v)
	case ctaEntryID:
		return v.u32(&e.ID)
	case ctaEntrySeqAdjust:
		return d.seqAdjust(&e.SeqAdjust.Orig, v)
	case ctaEntrySeqAdjust2:
		return d.seqAdjust(&e.SeqAdjust.Reply, v)
	case ctaEntryZone:
		return v.u16(&e.Zone)
	case ctaEntrySecCtx:
		return d.secCtx(v)
	case ctaEntryTimestamp:
		return d.timestamp(v)
	case ctaEntryLabels:
		e.Labels = hex.EncodeToString(bytes.TrimRight(v.b, "\x00"))
	case ctaEntrySynProxy:
		return d.synProxy(v)
	case ctaEntryEventTime:
		return v.time(&d.when)
	case ctaEntryUse, ctaEntrySecMark, ctaEntryLabelsMask: // of no use to anybody
	default:
		return d.add(v, "entry")
	}
	return nil
}

// tuple decodes a tuple, which names the zone of its direction where the other one has none.
func (d *entryDecoder) tuple(to *nf.Tuple, dir nf.Direction, v value) error {
	zone, ok, err := decodeTuple(to, v.b, v.at)
	if ok && zone != 0 {
		d.e.Zone, d.e.ZoneDir = zone, dir
	}
	return err
}

// seconds reads a number of seconds.
func (v value) seconds(to *time.Duration) error {
	var n uint32
	err := v.u32(&n)
	*to = time.Duration(n) * time.Second
	return err
}

// time reads nanoseconds since 1970. What no clock shows is no time.
func (v value) time(to *time.Time) error {
	var n uint64
	err := v.u64(&n)
	if n != 0 && int64(n) > 0 {
		*to = time.Unix(0, int64(n))
	}
	return err
}

// nested calls f for each attribute in v. Those of which f says errPassed are unknown among those of something.
func (d *unknowns) nested(v value, among string, f func(v value) error) error {
	return Attributes(v.b, v.at, func(typ uint16, at int, b []byte) error {
		v := value{typ, at, b}
		err := f(v)
		if errors.Is(err, errPassed) {
			return d.add(v, among)
		}
		return err
	})
}

var errPassed = errors.New("passed over")
