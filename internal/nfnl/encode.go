package nfnl

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// AppendCreate appends a request to create the entry e to b. Fields that only the kernel sets (counters, times, ID) are
// ignored. The timeout is rounded up to whole seconds. It panics if the labels are not hexadecimal.
func AppendCreate(b []byte, e nf.Entry) []byte {
	b, start := begin(b, msgEntryNew, flagCreate|flagExcl, e.Orig.Family())
	return end(appendEntry(b, &e), start)
}

// AppendUpdate appends a request to change the entry with e's tuples and zone. Zero fields of e are left unchanged.
func AppendUpdate(b []byte, e nf.Entry) []byte {
	b, start := begin(b, msgEntryNew, 0, e.Orig.Family())
	return end(appendEntry(b, &e), start)
}

// AppendDelete appends a request to delete the entry with e's original tuple, zone and, unless zero, ID.
func AppendDelete(b []byte, e nf.Entry) []byte {
	b, start := begin(b, msgEntryDelete, 0, e.Orig.Family())
	b = appendOriginal(b, &e)
	if e.ID != 0 {
		b = appendU32(b, entryID, e.ID)
	}
	return end(b, start)
}

// AppendFlush appends a request to delete all entries, or those of a zone, which needs kernel.ZoneFilters: before, the kernel
// deletes all. It leaves those in a flowtable.
func AppendFlush(b []byte, zone *uint16) []byte {
	b, start := begin(b, msgEntryDelete, 0, 0)
	if zone != nil {
		b = appendU16(b, entryZone, *zone)
	}
	return end(b, start)
}

// AppendTimeout appends a request to set the timeout of the entry with e's original tuple and zone to left, rounded
// down to whole seconds.
func AppendTimeout(b []byte, e nf.Entry, left time.Duration) []byte {
	b, start := begin(b, msgEntryNew, 0, e.Orig.Family())
	b = appendOriginal(b, &e)
	return end(appendU32(b, entryTimeout, uint32(left/time.Second)), start)
}

// AppendGet appends a request for the entry with e's original tuple and zone. The lookup destroys an expired entry
// (net/netfilter/nf_conntrack_core.c, ____nf_conntrack_find).
func AppendGet(b []byte, e nf.Entry) []byte {
	b, start := begin(b, msgEntryGet, 0, e.Orig.Family())
	return end(appendOriginal(b, &e), start)
}

// AppendCount appends a request for the number of entries. Like any request of ctnetlink it makes the kernel load its module.
func AppendCount(b []byte) []byte {
	b, start := begin(b, msgCount, 0, 0)
	return end(b, start)
}

// Dump is a request for a list.
type Dump struct {
	typ    uint16
	filter nf.Filter // for lists of entries
}

// The lists of the kernel; see also DumpEntries. The lists of statistics have a message per CPU.
var (
	DumpStats       = Dump{typ: msgStats}
	DumpExpectStats = Dump{typ: msgExpectStats}
	DumpDying       = Dump{typ: msgEntryDying}
	DumpUnconfirmed = Dump{typ: msgEntryUnconfirmed}
	DumpExpect      = Dump{typ: msgExpectGet}
)

// DumpEntries is the list of the entries that f selects by family, mark, zone and status. It only saves time: older
// kernels ignore parts of the filter (they know the status since 5.15, the zone since 6.8, eff3c558bb7e "netfilter:
// ctnetlink: support filtering by zone"), so that the caller still has to call f.Match for each entry.
//
// With hideFiller the kernel leaves out entries with a fixed timeout, as all filler entries have, unless f selects by
// that bit or by zone.
func DumpEntries(f nf.Filter, hideFiller bool) Dump {
	d := Dump{typ: msgEntryGet, filter: f}
	if hideFiller && f.Zone == nil {
		d.filter.Status &= f.StatusMask
		d.filter.StatusMask |= nf.FixedTimeout // no change if f selects by this bit
	}
	return d
}

// append appends the dump request to b.
func (d Dump) append(b []byte) []byte {
	f := d.filter
	b, start := begin(b, d.typ, flagDump, f.Family)
	if f.MarkMask != 0 {
		b = appendU32(b, entryMark, f.Mark&f.MarkMask)
		b = appendU32(b, entryMarkMask, f.MarkMask)
	}
	if f.StatusMask != 0 {
		b = appendU32(b, entryStatus, uint32(f.Status&f.StatusMask))
		b = appendU32(b, entryStatusMask, uint32(f.StatusMask))
	}
	if f.Zone != nil {
		b = appendU16(b, entryZone, *f.Zone)
	}
	return end(b, start)
}

// appendEntry appends all attributes of an entry that can be set.
func appendEntry(b []byte, e *nf.Entry) []byte {
	b = appendOriginal(b, e)
	b = appendTuple(b, entryTupleReply, &e.Reply, zoneIn(e, nf.Reply))
	if e.Status != 0 {
		b = appendU32(b, entryStatus, uint32(e.Status))
	}
	if e.Timeout != 0 {
		b = appendU32(b, entryTimeout, wholeSeconds(e.Timeout))
	}
	if e.State != nf.TCPNone {
		b = appendTCPState(b, e.State)
	}
	if e.Helper != "" {
		b = appendHelper(b, e.Helper)
	}
	if e.Mark != 0 {
		b = appendU32(b, entryMark, e.Mark)
	}
	if e.Labels != "" {
		b = appendBytes(b, entryLabels, labels(e.Labels))
	}
	return b
}

func appendTCPState(b []byte, state nf.TCPState) []byte {
	b, info := nest(b, entryProtoInfo)
	b, tcp := nest(b, infoTCP)
	b = appendU8(b, infoState, uint8(state))
	endNest(b, tcp)
	endNest(b, info)
	return b
}

func appendHelper(b []byte, name string) []byte {
	b, help := nest(b, entryHelp)
	b = appendBytes(b, helpName, append([]byte(name), 0))
	endNest(b, help)
	return b
}

// appendOriginal appends the attributes that identify an entry: the original tuple and the zone.
func appendOriginal(b []byte, e *nf.Entry) []byte {
	b = appendTuple(b, entryTupleOrig, &e.Orig, zoneIn(e, nf.Original))
	if e.Zone != 0 && e.ZoneDir == 0 {
		b = appendU16(b, entryZone, e.Zone)
	}
	return b
}

// zoneIn returns the zone attribute of a direction's tuple, which it has only if the other direction is in zone 0.
func zoneIn(e *nf.Entry, dir nf.Direction) uint16 {
	if e.ZoneDir != dir {
		return 0
	}
	return e.Zone
}

func appendTuple(b []byte, typ uint16, t *nf.Tuple, zone uint16) []byte {
	b, tuple := nest(b, typ)
	b, ip := nest(b, tupleIP)
	b = appendAddress(b, tupleIPv4Src, tupleIPv6Src, t.Src.Addr())
	b = appendAddress(b, tupleIPv4Dst, tupleIPv6Dst, t.Dst.Addr())
	endNest(b, ip)
	b, proto := nest(b, tupleProto)
	b = appendU8(b, tupleProtoNum, uint8(t.Proto))
	switch t.Proto {
	case nf.ICMP:
		b = appendU16(b, tupleICMPID, t.ICMP.ID)
		b = appendU8(b, tupleICMPType, t.ICMP.Type)
		b = appendU8(b, tupleICMPCode, t.ICMP.Code)
	case nf.ICMPv6:
		b = appendU16(b, tupleICMPv6ID, t.ICMP.ID)
		b = appendU8(b, tupleICMPv6Type, t.ICMP.Type)
		b = appendU8(b, tupleICMPv6Code, t.ICMP.Code)
	default:
		b = appendU16(b, tupleSrcPort, t.Src.Port())
		b = appendU16(b, tupleDstPort, t.Dst.Port())
	}
	endNest(b, proto)
	if zone != 0 {
		b = appendU16(b, tupleZone, zone)
	}
	endNest(b, tuple)
	return b
}

func appendAddress(b []byte, v4, v6 uint16, a netip.Addr) []byte {
	switch a = a.Unmap(); {
	case a.Is4():
		v := a.As4()
		return append(appendHeader(b, v4, len(v)), v[:]...)
	case a.Is6():
		v := a.As16()
		return append(appendHeader(b, v6, len(v)), v[:]...)
	}
	return b
}

// wholeSeconds rounds up, because a timeout of zero means that none is set.
func wholeSeconds(d time.Duration) uint32 { return uint32((d + time.Second - 1) / time.Second) }

// labelBytes is the size of a set of labels (include/net/netfilter/nf_conntrack_labels.h, NF_CT_LABELS_MAX_SIZE).
const labelBytes = 16

// labels returns the bytes of a set of labels, nil for "". It panics if s is not hexadecimal.
func labels(s string) []byte {
	if s == "" {
		return nil
	}
	b, err := hex.DecodeString(s)
	if err != nil || len(b) > labelBytes {
		panic(fmt.Sprintf("nfnl: labels %q: want at most %d bytes in hexadecimal", s, labelBytes))
	}
	return append(b, make([]byte, labelBytes-len(b))...)
}
