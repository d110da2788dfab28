package nfnl

import (
	"bytes"
	"encoding/binary"
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
func DecodeWhole(body []byte, at int) (e nf.Entry, unknown *UnknownError, err error) {
	unknown, err = DecodeInto(&e, body, at)
	return e, unknown, err
}

// DecodeInto is DecodeWhole into an entry of the caller, which need not be empty. It allocates memory for labels, names and
// errors only.
func DecodeInto(e *nf.Entry, body []byte, at int) (*UnknownError, error) {
	*e = nf.Entry{}
	d := entryDecoder{e: e}
	err := d.decode(body, at)
	return d.first, err
}

// DecodeEnd is DecodeEntry for callers that only count DESTROY events. It decodes only the status, the timeout, the
// protocol's state and the zone, which takes a quarter of the time.
func DecodeEnd(body []byte, at int) (nf.Entry, error) {
	var e nf.Entry
	d := entryDecoder{e: &e, only: 1<<entryStatus | 1<<entryProtoInfo | 1<<entryTimeout | 1<<entryZone}
	err := d.decode(body, at)
	return e, err
}

// DecodeZone is DecodeEntry for callers that need only the zone. Whether it is that of both directions is not told.
func DecodeZone(body []byte, at int) (zone uint16, err error) {
	attrs, at, err := Body(body, at)
	if err != nil {
		return 0, err
	}
	a := attributes{data: attrs, base: at}
	for a.read() {
		switch a.typ {
		case entryTupleOrig, entryTupleReply:
			var one uint16
			tuple := a.value().inside()
			for tuple.read() {
				if tuple.typ == tupleZone {
					tuple.err = tuple.value().u16(&one)
				}
			}
			if a.err = tuple.err; one != 0 {
				zone = one
			}
		case entryZone:
			a.err = a.value().u16(&zone)
		}
	}
	return zone, a.err
}

type entryDecoder struct {
	unknowns
	e    *nf.Entry
	when time.Time // time of the event
	only uint64    // a bit for each attribute type to decode; zero: all
}

func (d *entryDecoder) decode(body []byte, at int) error {
	attrs, at, err := Body(body, at)
	if err != nil {
		return err
	}
	a := attributes{data: attrs, base: at}
	for a.read() {
		if d.only == 0 || d.only>>a.typ&1 != 0 {
			a.err = d.attribute(a.value())
		}
	}
	return a.err
}

func (d *entryDecoder) attribute(v value) error {
	e := d.e
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
		d.add(v, "entry")
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
	if usualTuple(t, v.b) {
		return 0, nil
	}
	var src, dst netip.Addr
	var sport, dport uint16
	a := v.inside()
	for a.read() {
		switch a.typ {
		case tupleIP:
			a.err = a.value().addresses(&src, &dst)
		case tupleProto:
			a.err = a.value().protocol(t, &sport, &dport)
		case tupleZone:
			a.err = a.value().u16(&zone)
		default:
			a.err = a.value().unknown("tuple")
		}
	}
	t.Src, t.Dst = netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)
	return zone, a.err
}

// usualTuple decodes a tuple with ports and without a zone, if its attributes stand as the kernel writes them
// (net/netfilter/nf_conntrack_netlink.c, ctnetlink_dump_tuples). Without it a TCP entry takes 1.6 times as
// long (BenchmarkDecodePlainEntry).
func usualTuple(t *nf.Tuple, b []byte) bool {
	const (
		of4 = 48 // the addresses 4+2*8, the protocol 4+3*8
		of6 = 72 // the addresses 4+2*20
	)
	if len(b) != of4 && len(b) != of6 {
		return false
	}
	l3 := len(b) - 28
	size, srcType, dstType := (l3-4)/2, uint16(tupleIPv4Src), uint16(tupleIPv4Dst)
	if len(b) == of6 {
		srcType, dstType = tupleIPv6Src, tupleIPv6Dst
	}
	src, dst, l4 := b[4:4+size], b[4+size:l3], b[l3:]
	if !isHeader(b, l3, tupleIP) || !isHeader(src, size, srcType) || !isHeader(dst, size, dstType) ||
		!isHeader(l4, 28, tupleProto) || !isHeader(l4[4:], 5, tupleProtoNum) ||
		!isHeader(l4[12:], 6, tupleSrcPort) || !isHeader(l4[20:], 6, tupleDstPort) {
		return false
	}
	t.Proto = nf.Proto(l4[8])
	sport, dport := binary.BigEndian.Uint16(l4[16:]), binary.BigEndian.Uint16(l4[24:])
	if size == 8 {
		t.Src = netip.AddrPortFrom(netip.AddrFrom4([4]byte(src[4:])), sport)
		t.Dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte(dst[4:])), dport)
	} else {
		t.Src = netip.AddrPortFrom(netip.AddrFrom16([16]byte(src[4:])), sport)
		t.Dst = netip.AddrPortFrom(netip.AddrFrom16([16]byte(dst[4:])), dport)
	}
	return true
}

// isHeader reports whether b begins with the header of an attribute of n bytes, header included.
func isHeader(b []byte, n int, typ uint16) bool {
	return int(binary.NativeEndian.Uint16(b)) == n && binary.NativeEndian.Uint16(b[2:])&typeMask == typ
}

func (v value) addresses(src, dst *netip.Addr) error {
	a := v.inside()
	for a.read() {
		switch a.typ {
		case tupleIPv4Src, tupleIPv6Src:
			a.err = a.value().address(src)
		case tupleIPv4Dst, tupleIPv6Dst:
			a.err = a.value().address(dst)
		default:
			a.err = a.value().unknown("addresses")
		}
	}
	return a.err
}

func (v value) protocol(t *nf.Tuple, sport, dport *uint16) error {
	a := v.inside()
	for a.read() {
		switch a.typ {
		case tupleProtoNum:
			a.err = a.value().u8((*uint8)(&t.Proto))
		case tupleSrcPort:
			a.err = a.value().u16(sport)
		case tupleDstPort:
			a.err = a.value().u16(dport)
		case tupleICMPID, tupleICMPv6ID:
			a.err = a.value().u16(&t.ICMP.ID)
		case tupleICMPType, tupleICMPv6Type:
			a.err = a.value().u8(&t.ICMP.Type)
		case tupleICMPCode, tupleICMPv6Code:
			a.err = a.value().u8(&t.ICMP.Code)
		default:
			a.err = a.value().unknown("protocol")
		}
	}
	return a.err
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
	switch {
	case err != nil:
	case size == 4:
		*to = netip.AddrFrom4([4]byte(v.b))
	default:
		*to = netip.AddrFrom16([16]byte(v.b))
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
	a := v.inside()
	for a.read() {
		switch a.typ {
		case infoTCP:
			a.err = d.tcpInfo(a.value())
		case infoDCCP:
			a.err = d.otherState(a.value(), dccpStates[:], infoLastOfDCCP)
		case infoSCTP:
			a.err = d.otherState(a.value(), sctpStates[:], infoLastOfSCTP)
		default:
			d.add(a.value(), "protocol's state")
		}
	}
	return a.err
}

func (d *entryDecoder) tcpInfo(v value) error {
	a := v.inside()
	for a.read() {
		switch a.typ {
		case infoState:
			a.err = a.value().u8((*uint8)(&d.e.State))
		case infoTCPScaleOrig:
			a.err = a.value().u8(&d.e.TCP.Orig.Scale)
		case infoTCPScaleReply:
			a.err = a.value().u8(&d.e.TCP.Reply.Scale)
		case infoTCPFlagsOrig:
			a.err = a.value().tcpFlags(&d.e.TCP.Orig.Flags)
		case infoTCPFlagsReply:
			a.err = a.value().tcpFlags(&d.e.TCP.Reply.Flags)
		default:
			d.add(a.value(), "state of TCP")
		}
	}
	return a.err
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
	a := v.inside()
	for a.read() {
		switch {
		case a.typ > last:
			d.add(a.value(), "state of another protocol")
		case a.typ == infoState:
			var n uint8
			a.err = a.value().u8(&n)
			if int(n) < len(names) {
				d.e.OtherState = names[n]
			} else {
				d.e.OtherState = fmt.Sprintf("STATE_%d", n)
			}
		}
	}
	return a.err
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
	a := v.inside()
	for a.read() {
		switch a.typ {
		case helpName:
			d.e.Helper = CString(a.value().b)
		case helpInfo: // only for helpers in user space
		default:
			d.add(a.value(), "helper")
		}
	}
	return a.err
}

func (d *entryDecoder) counters(packets, octets *uint64, v value) error {
	a := v.inside()
	for a.read() {
		switch a.typ {
		case countPackets:
			a.err = a.value().u64(packets)
		case countBytes:
			a.err = a.value().u64(octets)
		case count32Packets, count32Bytes, countPad:
		default:
			d.add(a.value(), "counters")
		}
	}
	return a.err
}

func (d *entryDecoder) seqAdjust(to *nf.SeqShift, v value) error {
	a := v.inside()
	for a.read() {
		switch a.typ {
		case seqPosition:
			a.err = a.value().u32(&to.Position)
		case seqBefore:
			a.err = a.value().s32(&to.Before)
		case seqAfter:
			a.err = a.value().s32(&to.After)
		default:
			d.add(a.value(), "sequence adjustment")
		}
	}
	return a.err
}

func (d *entryDecoder) secCtx(v value) error {
	a := v.inside()
	for a.read() {
		if a.typ == secCtxName {
			d.e.SecCtx = CString(a.value().b)
		} else {
			d.add(a.value(), "security context")
		}
	}
	return a.err
}

func (d *entryDecoder) timestamp(v value) error {
	a := v.inside()
	for a.read() {
		switch a.typ {
		case timeStart:
			a.err = a.value().time(&d.e.Start)
		case timeStop:
			a.err = a.value().time(&d.e.Stop)
		case timePad:
		default:
			d.add(a.value(), "timestamps")
		}
	}
	return a.err
}

func (d *entryDecoder) synProxy(v value) error {
	a := v.inside()
	for a.read() {
		switch a.typ {
		case proxyISN:
			a.err = a.value().u32(&d.e.SynProxy.ISN)
		case proxyITS:
			a.err = a.value().u32(&d.e.SynProxy.ITS)
		case proxyOffset:
			a.err = a.value().u32(&d.e.SynProxy.TSOffset)
		default:
			d.add(a.value(), "SYNPROXY")
		}
	}
	return a.err
}
