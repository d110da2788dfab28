package ctnl

import (
	"net/netip"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// The attributes of a tuple (include/uapi/linux/netfilter/nfnetlink_conntrack.h, enum ctattr_tuple and below).
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

// decodeTuple decodes the attributes of a tuple, all of which have to be known: a tuple that is understood in part would
// name another flow.
func decodeTuple(t *nf.Tuple, b []byte, at int) (zone uint16, hasZone bool, err error) {
	var src, dst netip.Addr
	var sport, dport uint16
	err = Attributes(b, at, func(typ uint16, at int, b []byte) error {
		switch typ {
		case tupleIP:
			return Attributes(b, at, func(typ uint16, at int, b []byte) error {
				switch typ {
				case tupleIPv4Src, tupleIPv6Src:
					return value{typ, at, b}.address(&src)
				case tupleIPv4Dst, tupleIPv6Dst:
					return value{typ, at, b}.address(&dst)
				}
				return value{typ, at, b}.unknown("addresses")
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
			hasZone = true
			return value{typ, at, b}.u16(&zone)
		}
		return value{typ, at, b}.unknown("tuple")
	})
	t.Src, t.Dst = netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)
	return zone, hasZone, err
}

// plainTuple decodes a tuple whose zone stands elsewhere.
func (v value) plainTuple(t *nf.Tuple) error {
	_, _, err := decodeTuple(t, v.b, v.at)
	return err
}

// address reads an address of the family that the type says.
func (v value) address(to *netip.Addr) error {
	want := 4
	if v.typ == tupleIPv6Src || v.typ == tupleIPv6Dst {
		want = 16
	}
	if len(v.b) != want {
		return v.wrong(want)
	}
	*to, _ = netip.AddrFromSlice(v.b) // of 4 or 16 bytes: it is one
	return nil
}
