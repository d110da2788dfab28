package ctnl

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// The requests that change the table (include/uapi/linux/netfilter/nfnetlink_conntrack.h, IPCTNL_MSG_CT_NEW and _DELETE, of
// the subsystem NFNL_SUBSYS_CTNETLINK) and the flags of include/uapi/linux/netlink.h.
const (
	msgNew    = 1 << 8
	msgDelete = 1<<8 | 2

	flagRequest = 0x1
	flagAck     = 0x4
	flagExcl    = 0x200
	flagCreate  = 0x400

	flagNested = 1 << 15 // NLA_F_NESTED

	seqOffset, flagsOffset = 8, 6 // in struct nlmsghdr
)

// AppendCreate appends the request for a new entry to b: what ctnetlink takes of e, without what only the kernel writes
// (counters, times, id). A part of a second in the timeout counts as a whole one. Labels that are no hexadecimal number
// panic.
func AppendCreate(b []byte, e nf.Entry) []byte {
	m := begin(b, msgNew, flagRequest|flagCreate|flagExcl, e.Orig.Family())
	m.tuple(ctaEntryTupleOrig, e.Orig, e, nf.Original)
	m.tuple(ctaEntryTupleReply, e.Reply, e, nf.Reply)
	if e.Status != 0 {
		m.u32(ctaEntryStatus, uint32(e.Status))
	}
	m.u32(ctaEntryTimeout, uint32((e.Timeout+time.Second-1)/time.Second))
	if e.State != nf.TCPNone {
		m.nest(ctaEntryProtoInfo, func() { m.nest(infoTCP, func() { m.attr(infoState, byte(e.State)) }) })
	}
	if e.Helper != "" {
		m.nest(ctaEntryHelp, func() { m.attr(helpName, append([]byte(e.Helper), 0)...) })
	}
	if e.Mark != 0 {
		m.u32(ctaEntryMark, e.Mark)
	}
	if e.Labels != "" {
		m.attr(ctaEntryLabels, labels(e.Labels)...)
	}
	m.zone(e)
	return m.end()
}

// AppendDelete appends the request to delete the entry that has e's tuple Orig, its zone and, unless it is zero, its id.
func AppendDelete(b []byte, e nf.Entry) []byte {
	m := begin(b, msgDelete, flagRequest, e.Orig.Family())
	m.tuple(ctaEntryTupleOrig, e.Orig, e, nf.Original)
	m.zone(e)
	if e.ID != 0 {
		m.u32(ctaEntryID, e.ID)
	}
	return m.end()
}

// message is one that is being written, from byte start of b on.
type message struct {
	b     []byte
	start int
}

func begin(b []byte, typ, flags uint16, family nf.Family) *message {
	m := &message{b: b, start: len(b)}
	m.b = append(m.b, make([]byte, HeaderSize+GenSize)...)
	h := m.b[m.start:]
	binary.NativeEndian.PutUint16(h[4:], typ)
	binary.NativeEndian.PutUint16(h[flagsOffset:], flags)
	h[HeaderSize] = byte(family)
	return m
}

func (m *message) end() []byte {
	binary.NativeEndian.PutUint32(m.b[m.start:], uint32(len(m.b)-m.start))
	return m.b
}

func (m *message) attr(typ uint16, v ...byte) {
	m.b = binary.NativeEndian.AppendUint16(m.b, uint16(AttributeSize+len(v)))
	m.b = binary.NativeEndian.AppendUint16(m.b, typ)
	m.b = append(m.b, v...)
	for (len(m.b)-m.start)%4 != 0 {
		m.b = append(m.b, 0)
	}
}

func (m *message) nest(typ uint16, inner func()) {
	at := len(m.b)
	m.attr(typ | flagNested)
	inner()
	binary.NativeEndian.PutUint16(m.b[at:], uint16(len(m.b)-at))
}

func (m *message) u16(typ, v uint16) { m.attr(typ, byte(v>>8), byte(v)) }

func (m *message) u32(typ uint16, v uint32) {
	m.attr(typ, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

// zone writes the zone of both directions; that of one stands in its tuple.
func (m *message) zone(e nf.Entry) {
	if e.Zone != 0 && e.ZoneDir == 0 {
		m.u16(ctaEntryZone, e.Zone)
	}
}

func (m *message) tuple(typ uint16, t nf.Tuple, e nf.Entry, dir nf.Direction) {
	m.nest(typ, func() {
		m.nest(tupleIP, func() {
			m.address(tupleIPv4Src, tupleIPv6Src, t.Src.Addr())
			m.address(tupleIPv4Dst, tupleIPv6Dst, t.Dst.Addr())
		})
		m.nest(tupleProto, func() {
			m.attr(tupleProtoNum, byte(t.Proto))
			switch t.Proto {
			case nf.ICMP:
				m.u16(tupleICMPID, t.ICMP.ID)
				m.attr(tupleICMPType, t.ICMP.Type)
				m.attr(tupleICMPCode, t.ICMP.Code)
			case nf.ICMPv6:
				m.u16(tupleICMPv6ID, t.ICMP.ID)
				m.attr(tupleICMPv6Type, t.ICMP.Type)
				m.attr(tupleICMPv6Code, t.ICMP.Code)
			default:
				m.u16(tupleSrcPort, t.Src.Port())
				m.u16(tupleDstPort, t.Dst.Port())
			}
		})
		if e.Zone != 0 && e.ZoneDir == dir {
			m.u16(tupleZone, e.Zone)
		}
	})
}

func (m *message) address(v4, v6 uint16, a netip.Addr) {
	switch a = a.Unmap(); {
	case a.Is4():
		b := a.As4()
		m.attr(v4, b[:]...)
	case a.Is6():
		b := a.As16()
		m.attr(v6, b[:]...)
	}
}
