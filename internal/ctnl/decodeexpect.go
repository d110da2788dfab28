package ctnl

import (
	"cmp"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// The attributes of an expectation (include/uapi/linux/netfilter/nfnetlink_conntrack.h, enum ctattr_expect).
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

// DecodeExpectation returns the expectation that the body of a message of ctnetlink's second subsystem holds, as
// DecodeEntry does an entry.
func DecodeExpectation(body []byte, at int) (nf.Expectation, error) {
	e, _, err := DecodeWholeExpectation(body, at)
	return e, err
}

// DecodeWholeExpectation is DecodeExpectation that tells of the first attribute that was passed over because it is
// unknown.
func DecodeWholeExpectation(body []byte, at int) (e nf.Expectation, unknown *UnknownError, err error) {
	attrs, at, err := Body(body, at)
	if err != nil {
		return e, nil, err
	}
	var timeout uint32
	err = Attributes(attrs, at, func(typ uint16, at int, b []byte) error {
		v := value{typ, at, b}
		switch typ {
		case expectMaster:
			return v.plainTuple(&e.Master)
		case expectTuple:
			return v.plainTuple(&e.Tuple)
		case expectMask:
			return v.plainTuple(&e.Mask)
		case expectTimeout:
			return v.u32(&timeout)
		case expectID:
			return v.u32(&e.ID)
		case expectHelpName:
			e.Helper = v.text()
		case expectZone:
			return v.u16(&e.Zone)
		case expectFlags:
			return v.u32((*uint32)(&e.Flags))
		case expectClass:
			return v.u32(&e.Class)
		case expectNAT:
			return decodeExpectNAT(&e.NAT, b, at)
		case expectFunction:
			e.Function = v.text()
		default:
			unknown = cmp.Or(unknown, v.unknown("expectation"))
		}
		return nil
	})
	e.Timeout = time.Duration(timeout) * time.Second
	return e, unknown, err
}

func decodeExpectNAT(n *nf.ExpectNAT, b []byte, at int) error {
	return Attributes(b, at, func(typ uint16, at int, b []byte) error {
		switch typ {
		case expectNATDir:
			var dir uint32
			err := value{typ, at, b}.u32(&dir)
			n.Reply = dir != 0
			return err
		case expectNATTuple:
			return value{typ, at, b}.plainTuple(&n.Tuple)
		}
		return nil
	})
}
