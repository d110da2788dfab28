package nfnl

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// The attributes of an entry (include/uapi/linux/netfilter/nfnetlink_conntrack.h, enum ctattr_type).
const (
	entryTupleOrig  = 1
	entryTupleReply = 2
	entryStatus     = 3
	entryProtoInfo  = 4
	entryHelp       = 5
	entryTimeout    = 7
	entryMark       = 8
	entryCounters   = 9 // CTA_COUNTERS_ORIG
	entryCounters2  = 10
	entryUse        = 11 // references
	entryID         = 12
	entryMaster     = 14
	entrySeqAdjust  = 15 // CTA_SEQ_ADJ_ORIG
	entrySeqAdjust2 = 16
	entrySecMark    = 17 // obsolete
	entryZone       = 18
	entrySecCtx     = 19
	entryTimestamp  = 20
	entryMarkMask   = 21
	entryLabels     = 22
	entryLabelsMask = 23
	entrySynProxy   = 24
	entryStatusMask = 26
	entryEventTime  = 27 // CTA_TIMESTAMP_EVENT, since 601731fc7c61 "netfilter: conntrack: add conntrack event timestamp"
)

// DecodeEntry returns the entry in the body of a message, which is a reply or an event. The argument at is the body's
// offset in the datagram; errors contain offsets. Truncated messages, attributes of a wrong size and unknown attributes
// of a tuple are errors. Other unknown attributes, as later kernels may add, are skipped.
func DecodeEntry(body []byte, at int) (nf.Entry, error) {
	e, _, err := DecodeWhole(body, at)
	return e, err
}

// DecodeWhole is DecodeEntry that also returns the first skipped attribute, if any.
func DecodeWhole(body []byte, at int) (nf.Entry, *UnknownError, error) {
	var d entryDecoder
	err := d.decode(body, at)
	return d.e, d.first, err
}

// DecodeEnd is DecodeEntry for callers that only count DESTROY events. It decodes only the status, the timeout, the
// protocol's state and the zone, which takes a quarter of the time.
func DecodeEnd(body []byte, at int) (nf.Entry, error) {
	d := entryDecoder{only: 1<<entryStatus | 1<<entryProtoInfo | 1<<entryTimeout | 1<<entryZone}
	err := d.decode(body, at)
	return d.e, err
}

type entryDecoder struct {
	unknowns
	e    nf.Entry
	when time.Time // time of the event
	only uint64    // a bit for each attribute type to decode; zero: all
}

func (d *entryDecoder) decode(body []byte, at int) error {
	attrs, at, err := Body(body, at)
	if err != nil {
		return err
	}
	return Attributes(attrs, at, func(typ uint16, at int, b []byte) error { // as each does, in fewer calls
		v := value{typ, at, b}
		err := d.attribute(v)
		if err == errUnknown {
			d.add(v, "entry")
			return nil
		}
		return err
	})
}

func (d *entryDecoder) attribute(v value) error {
	if d.only != 0 && d.only>>v.typ&1 == 0 {
		return nil
	}
	e := &d.e
	switch v.typ {
	case entryTupleOrig:
		return d.tuple(&e.Orig, nf.Original, v)
	case entryTupleReply:
		return d.tuple(&e.Reply, nf.Reply, v)
	case entryMaster:
		return v.tuple(&e.Master)
	case entryStatus:
		return v.u32((*uint32)(&e.Status))
	case entryProtoInfo:
		return d.protoInfo(v)
	case entryHelp:
		return d.help(v)
	case entryTimeout:
		return v.seconds(&e.Timeout)
	case entryMark:
		return v.u32(&e.Mark)
	case entryCounters:
		return d.counters(&e.Packets.Orig, &e.Bytes.Orig, v)
	case entryCounters2:
		return d.counters(&e.Packets.Reply, &e.Bytes.Reply, v)
	case entryID:
		return v.u32(&e.ID)
	case entrySeqAdjust:
		return d.seqAdjust(&e.SeqAdjust.Orig, v)
	case entrySeqAdjust2:
		return d.seqAdjust(&e.SeqAdjust.Reply, v)
	case entryZone:
		return v.u16(&e.Zone)
	case entrySecCtx:
		return d.secCtx(v)
	case entryTimestamp:
		return d.timestamp(v)
	case entryLabels:
		e.Labels = hex.EncodeToString(bytes.TrimRight(v.b, "\x00"))
	case entrySynProxy:
		return d.synProxy(v)
	case entryEventTime:
		return v.time(&d.when)
	case entryUse, entrySecMark, entryLabelsMask: // known, but not part of an nf.Entry
	default:
		return errUnknown
	}
	return nil
}

// tuple decodes a tuple of the entry. It has a zone if only this direction is in the entry's zone.
func (d *entryDecoder) tuple(to *nf.Tuple, dir nf.Direction, v value) error {
	zone, err := decodeTuple(to, v)
	if zone != 0 {
		d.e.Zone, d.e.ZoneDir = zone, dir
	}
	return err
}

// The attributes of a tuple (include/uapi/linux/netfilter/nfnetlink_conntrack.h, enum ctattr_tuple, ctattr_ip and
// ctattr_l4proto).
const (
	tupleIP    = 1
	tupleProto = 2
	tupleZone  = 3

	tupleIPv4Src = 1
	tupleIPv4Dst = 2
	tupleIPv6Src = 3
	tupleIPv6Dst = 4

	tupleProtoNum   = 1
	tupleSrcPort    = 2
	tupleDstPort    = 3
	tupleICMPID     = 4
	tupleICMPType   = 5
	tupleICMPCode   = 6
	tupleICMPv6ID   = 7
	tupleICMPv6Type = 8
	tupleICMPv6Code = 9
)

// decodeTuple decodes a tuple, and its zone if it has one. An unknown attribute is an error, because a part of a tuple
// would identify another flow.
func decodeTuple(t *nf.Tuple, v value) (zone uint16, err error) {
	var src, dst netip.Addr
	var sport, dport uint16
	err = Attributes(v.b, v.at, func(typ uint16, at int, b []byte) error {
		v := value{typ, at, b}
		switch typ {
		case tupleIP:
			return Attributes(b, at, func(typ uint16, at int, b []byte) error {
				v := value{typ, at, b}
				switch typ {
				case tupleIPv4Src, tupleIPv6Src:
					return v.address(&src)
				case tupleIPv4Dst, tupleIPv6Dst:
					return v.address(&dst)
				}
				return v.unknown("addresses")
			})
		case tupleProto:
			return Attributes(b, at, func(typ uint16, at int, b []byte) error {
				v := value{typ, at, b}
				switch typ {
				case tupleProtoNum:
					return v.u8((*uint8)(&t.Proto))
				case tupleSrcPort:
					return v.u16(&sport)
				case tupleDstPort:
					return v.u16(&dport)
				case tupleICMPID, tupleICMPv6ID:
					return v.u16(&t.ICMP.ID)
				case tupleICMPType, tupleICMPv6Type:
					return v.u8(&t.ICMP.Type)
				case tupleICMPCode, tupleICMPv6Code:
					return v.u8(&t.ICMP.Code)
				}
				return v.unknown("protocol")
			})
		case tupleZone:
			return v.u16(&zone)
		}
		return v.unknown("tuple")
	})
	t.Src, t.Dst = netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)
	return zone, err
}

// tuple decodes a tuple without a zone of its own.
func (v value) tuple(t *nf.Tuple) error {
	_, err := decodeTuple(t, v)
	return err
}

// address reads an address. The type of the attribute determines the family.
func (v value) address(to *netip.Addr) error {
	size := 4
	if v.typ == tupleIPv6Src || v.typ == tupleIPv6Dst {
		size = 16
	}
	err := v.check(size)
	if err == nil {
		*to, _ = netip.AddrFromSlice(v.b)
	}
	return err
}

// The attributes of a protocol's state (include/uapi/linux/netfilter/nfnetlink_conntrack.h, enum ctattr_protoinfo,
// ctattr_protoinfo_tcp, _dccp and _sctp).
const (
	infoTCP  = 1
	infoDCCP = 2
	infoSCTP = 3

	infoState = 1 // the same for all three

	infoTCPScaleOrig  = 2
	infoTCPScaleReply = 3
	infoTCPFlagsOrig  = 4
	infoTCPFlagsReply = 5

	infoLastOfDCCP = 4 // role, handshake sequence number, padding
	infoLastOfSCTP = 3 // verification tags
)

// The names of the states (net/netfilter/nf_conntrack_proto_sctp.c, sctp_conntrack_names, and until 6.15
// nf_conntrack_proto_dccp.c, dccp_state_names).
var (
	sctpStates = [...]string{
		"NONE", "CLOSED", "COOKIE_WAIT", "COOKIE_ECHOED", "ESTABLISHED", "SHUTDOWN_SENT", "SHUTDOWN_RECD",
		"SHUTDOWN_ACK_SENT", "HEARTBEAT_SENT", "HEARTBEAT_ACKED",
	}
	dccpStates = [...]string{
		"NONE", "REQUEST", "RESPOND", "PARTOPEN", "OPEN", "CLOSEREQ", "CLOSING", "TIMEWAIT", "IGNORE", "INVALID",
	}
)

func (d *entryDecoder) protoInfo(v value) error {
	return d.each(v.b, v.at, "protocol's state", func(v value) error {
		switch v.typ {
		case infoTCP:
			return d.tcpInfo(v)
		case infoDCCP:
			return d.otherState(v, dccpStates[:], infoLastOfDCCP)
		case infoSCTP:
			return d.otherState(v, sctpStates[:], infoLastOfSCTP)
		}
		return errUnknown
	})
}

func (d *entryDecoder) tcpInfo(v value) error {
	return d.each(v.b, v.at, "state of TCP", func(v value) error {
		switch v.typ {
		case infoState:
			return v.u8((*uint8)(&d.e.State))
		case infoTCPScaleOrig:
			return v.u8(&d.e.TCP.Orig.Scale)
		case infoTCPScaleReply:
			return v.u8(&d.e.TCP.Reply.Scale)
		case infoTCPFlagsOrig:
			return v.tcpFlags(&d.e.TCP.Orig.Flags)
		case infoTCPFlagsReply:
			return v.tcpFlags(&d.e.TCP.Reply.Flags)
		}
		return errUnknown
	})
}

// tcpFlags reads the flags of a struct nf_ct_tcp_flags. Only requests use its mask.
func (v value) tcpFlags(to *nf.TCPTrackFlags) error {
	err := v.check(2)
	if err == nil {
		*to = nf.TCPTrackFlags(v.b[0])
	}
	return err
}

// otherState decodes the state only. The other attributes, with types up to last, are not part of an nf.Entry.
func (d *entryDecoder) otherState(v value, names []string, last uint16) error {
	return d.each(v.b, v.at, "state of another protocol", func(v value) error {
		switch {
		case v.typ > last:
			return errUnknown
		case v.typ != infoState:
			return nil
		}
		var n uint8
		err := v.u8(&n)
		if d.e.OtherState = fmt.Sprintf("STATE_%d", n); int(n) < len(names) {
			d.e.OtherState = names[n]
		}
		return err
	})
}

// The nested attributes of an entry (include/uapi/linux/netfilter/nfnetlink_conntrack.h, enum ctattr_help,
// ctattr_counters, ctattr_seqadj, ctattr_secctx, ctattr_tstamp and ctattr_synproxy).
const (
	helpName = 1
	helpInfo = 2

	countPackets   = 1
	countBytes     = 2
	count32Packets = 3 // in old kernels
	count32Bytes   = 4
	countPad       = 5

	seqPosition = 1 // CTA_SEQADJ_CORRECTION_POS
	seqBefore   = 2
	seqAfter    = 3

	secCtxName = 1

	timeStart = 1
	timeStop  = 2
	timePad   = 3

	proxyISN    = 1
	proxyITS    = 2
	proxyOffset = 3
)

func (d *entryDecoder) help(v value) error {
	return d.each(v.b, v.at, "helper", func(v value) error {
		switch v.typ {
		case helpName:
			d.e.Helper = CString(v.b)
		case helpInfo: // only for helpers in user space
		default:
			return errUnknown
		}
		return nil
	})
}

func (d *entryDecoder) counters(packets, octets *uint64, v value) error {
	return d.each(v.b, v.at, "counters", func(v value) error {
		switch v.typ {
		case countPackets:
			return v.u64(packets)
		case countBytes:
			return v.u64(octets)
		case count32Packets, count32Bytes, countPad:
			return nil
		}
		return errUnknown
	})
}

func (d *entryDecoder) seqAdjust(to *nf.SeqShift, v value) error {
	return d.each(v.b, v.at, "sequence adjustment", func(v value) error {
		switch v.typ {
		case seqPosition:
			return v.u32(&to.Position)
		case seqBefore:
			return v.s32(&to.Before)
		case seqAfter:
			return v.s32(&to.After)
		}
		return errUnknown
	})
}

func (d *entryDecoder) secCtx(v value) error {
	return d.each(v.b, v.at, "security context", func(v value) error {
		if v.typ != secCtxName {
			return errUnknown
		}
		d.e.SecCtx = CString(v.b)
		return nil
	})
}

func (d *entryDecoder) timestamp(v value) error {
	return d.each(v.b, v.at, "timestamps", func(v value) error {
		switch v.typ {
		case timeStart:
			return v.time(&d.e.Start)
		case timeStop:
			return v.time(&d.e.Stop)
		case timePad:
			return nil
		}
		return errUnknown
	})
}

func (d *entryDecoder) synProxy(v value) error {
	return d.each(v.b, v.at, "SYNPROXY", func(v value) error {
		switch v.typ {
		case proxyISN:
			return v.u32(&d.e.SynProxy.ISN)
		case proxyITS:
			return v.u32(&d.e.SynProxy.ITS)
		case proxyOffset:
			return v.u32(&d.e.SynProxy.TSOffset)
		}
		return errUnknown
	})
}
