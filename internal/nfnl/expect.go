package nfnl

import (
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// The attributes of an expectation (include/uapi/linux/netfilter/nfnetlink_conntrack.h, enum ctattr_expect and
// ctattr_expect_nat).
const (
	expectMaster   = 1
	expectTuple    = 2
	expectMask     = 3
	expectTimeout  = 4
	expectID       = 5
	expectHelpName = 6
	expectZone     = 7
	expectFlags    = 8
	expectClass    = 9
	expectNAT      = 10
	expectFunction = 11

	expectNATDir   = 1
	expectNATTuple = 2
)

// DecodeExpectation returns the expectation in the body of a message. It is to expectations what DecodeEntry is to
// entries.
func DecodeExpectation(body []byte, at int) (nf.Expectation, error) {
	e, _, err := DecodeWholeExpectation(body, at)
	return e, err
}

// DecodeWholeExpectation is DecodeExpectation that also returns the first skipped attribute, if any.
func DecodeWholeExpectation(body []byte, at int) (e nf.Expectation, unknown *UnknownError, err error) {
	attrs, at, err := Body(body, at)
	if err != nil {
		return e, nil, err
	}
	var u unknowns
	err = u.each(attrs, at, "expectation", func(v value) error {
		switch v.typ {
		case expectMaster:
			return v.tuple(&e.Master)
		case expectTuple:
			return v.tuple(&e.Tuple)
		case expectMask:
			return v.tuple(&e.Mask)
		case expectTimeout:
			return v.seconds(&e.Timeout)
		case expectID:
			return v.u32(&e.ID)
		case expectHelpName:
			e.Helper = CString(v.b)
		case expectZone:
			return v.u16(&e.Zone)
		case expectFlags:
			return v.u32((*uint32)(&e.Flags))
		case expectClass:
			return v.u32(&e.Class)
		case expectNAT:
			return u.expectNAT(&e.NAT, v)
		case expectFunction:
			e.Function = CString(v.b)
		default:
			return errUnknown
		}
		return nil
	})
	return e, u.first, err
}

func (u *unknowns) expectNAT(n *nf.ExpectNAT, v value) error {
	return u.each(v.b, v.at, "expectation's NAT", func(v value) error {
		switch v.typ {
		case expectNATDir:
			var dir uint32
			err := v.u32(&dir)
			n.Reply = dir != 0
			return err
		case expectNATTuple:
			return v.tuple(&n.Tuple)
		}
		return errUnknown
	})
}

// AppendExpect appends a request to create the expectation x, whose master must exist and have a helper. NAT, function and ID are
// left out. The kernel ignores the timeout if the helper has one (net/netfilter/nf_conntrack_expect.c, nf_ct_expect_insert).
func AppendExpect(b []byte, x nf.Expectation) []byte {
	b, start := begin(b, msgExpectNew, flagCreate|flagExcl, x.Tuple.Family())
	b = appendExpected(b, &x)
	b = appendTuple(b, expectMaster, &x.Master, 0)
	b = appendTuple(b, expectMask, &x.Mask, 0)
	b = appendU32(b, expectTimeout, wholeSeconds(x.Timeout))
	if x.Helper != "" {
		b = appendBytes(b, expectHelpName, append([]byte(x.Helper), 0))
	}
	if x.Flags != 0 {
		b = appendU32(b, expectFlags, uint32(x.Flags))
	}
	if x.Class != 0 {
		b = appendU32(b, expectClass, x.Class)
	}
	return end(b, start)
}

// AppendExpectTimeout appends a request to set the timeout of the expectation with x's tuple and zone to left, rounded
// down to whole seconds.
func AppendExpectTimeout(b []byte, x nf.Expectation, left time.Duration) []byte {
	b, start := begin(b, msgExpectNew, 0, x.Tuple.Family())
	b = appendExpected(b, &x)
	// The kernel requires these two but ignores them (net/netfilter/nf_conntrack_netlink.c, ctnetlink_new_expect).
	b = appendTuple(b, expectMaster, &x.Master, 0)
	b = appendTuple(b, expectMask, &x.Mask, 0)
	return end(appendU32(b, expectTimeout, uint32(left/time.Second)), start)
}

// AppendExpectDelete appends a request to delete the expectation with x's tuple, zone and, unless zero, ID.
func AppendExpectDelete(b []byte, x nf.Expectation) []byte {
	b, start := begin(b, msgExpectDelete, 0, x.Tuple.Family())
	b = appendExpected(b, &x)
	if x.ID != 0 {
		b = appendU32(b, expectID, x.ID)
	}
	return end(b, start)
}

// appendExpected appends the attributes that identify an expectation: its tuple and its zone.
func appendExpected(b []byte, x *nf.Expectation) []byte {
	b = appendTuple(b, expectTuple, &x.Tuple, 0)
	if x.Zone != 0 {
		b = appendU16(b, expectZone, x.Zone)
	}
	return b
}
