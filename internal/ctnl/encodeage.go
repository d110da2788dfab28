package ctnl

import (
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// The requests about expectations (include/uapi/linux/netfilter/nfnetlink_conntrack.h, IPCTNL_MSG_EXP_NEW and _DELETE, of
// the subsystem NFNL_SUBSYS_CTNETLINK_EXP).
const (
	msgExpectNew    = 2 << 8
	msgExpectDelete = 2<<8 | 2

	msgGet = 1<<8 | 1 // IPCTNL_MSG_CT_GET of NFNL_SUBSYS_CTNETLINK
)

// AppendTimeout appends the request that the entry with e's tuple Orig and its zone be over in so many whole seconds.
func AppendTimeout(b []byte, e nf.Entry, left time.Duration) []byte {
	m := begin(b, msgNew, flagRequest, e.Orig.Family())
	m.tuple(ctaEntryTupleOrig, e.Orig, e, nf.Original)
	m.u32(ctaEntryTimeout, uint32(left/time.Second))
	m.zone(e)
	return m.end()
}

// AppendGet appends the request for the entry with e's tuple Orig and its zone. One whose time is over is destroyed by it
// (net/netfilter/nf_conntrack_core.c, ____nf_conntrack_find).
func AppendGet(b []byte, e nf.Entry) []byte {
	m := begin(b, msgGet, flagRequest, e.Orig.Family())
	m.tuple(ctaEntryTupleOrig, e.Orig, e, nf.Original)
	m.zone(e)
	return m.end()
}

// AppendExpectTimeout appends the request that the expectation with x's tuple and zone be over in so many whole seconds.
func AppendExpectTimeout(b []byte, x nf.Expectation, left time.Duration) []byte {
	m := begin(b, msgExpectNew, flagRequest, x.Tuple.Family())
	m.expected(x)
	// The kernel asks for these two and then looks at neither.
	m.tuple(expectMaster, x.Master, nf.Entry{}, 0)
	m.tuple(expectMask, x.Mask, nf.Entry{}, 0)
	m.u32(expectTimeout, uint32(left/time.Second))
	return m.end()
}

// AppendExpectDelete appends the request to delete the expectation that has x's tuple, its zone and, unless it is zero, its
// id.
func AppendExpectDelete(b []byte, x nf.Expectation) []byte {
	m := begin(b, msgExpectDelete, flagRequest, x.Tuple.Family())
	m.expected(x)
	if x.ID != 0 {
		m.u32(expectID, x.ID)
	}
	return m.end()
}

func (m *message) expected(x nf.Expectation) {
	m.tuple(expectTuple, x.Tuple, nf.Entry{}, 0)
	if x.Zone != 0 {
		m.u16(expectZone, x.Zone)
	}
}
