package inject

import (
	"fmt"
	"net/netip"

	"github.com/ctexp/go-ctexp/internal/header"
)

// IGMPType is the type of an IGMP message.
type IGMPType uint8

// The messages: a query and the answers to it of version 2 (RFC 2236), and the report of version 3 (RFC 9776).
const (
	IGMPQuery    IGMPType = 0x11
	IGMPReport   IGMPType = 0x16
	IGMPLeave    IGMPType = 0x17
	IGMPv3Report IGMPType = 0x22
)

// IGMP returns a message of src about a group, to where such a message goes: a query to the group or, if that is
// 0.0.0.0, to all hosts, a report to the group, a leave to all routers, a report of version 3 (which joins the group) to
// the routers that know it. It has TTL 1 and the router alert option.
func IGMP(src netip.Addr, t IGMPType, group netip.Addr) Packet {
	group = group.Unmap()
	if !src.Unmap().Is4() || !group.Is4() {
		panic(fmt.Sprintf("inject: IGMP from %v about %v: it is of IPv4; IPv6 has ICMPv6 for that", src, group))
	}
	dst := group
	b := append([]byte{byte(t), 0, 0, 0}, group.AsSlice()...)
	switch t {
	case IGMPQuery:
		b[1] = 100 // tenths of a second
		if group.IsUnspecified() {
			dst = netip.AddrFrom4([4]byte{224, 0, 0, 1})
		}
	case IGMPLeave:
		dst = netip.AddrFrom4([4]byte{224, 0, 0, 2})
	case IGMPv3Report:
		dst = netip.AddrFrom4([4]byte{224, 0, 0, 22})
		const toExclude = 4 // of no source: a join
		b = append([]byte{byte(t), 0, 0, 0, 0, 0, 0, 1, toExclude, 0, 0, 0}, group.AsSlice()...)
	}
	f := Flow{netip.AddrPortFrom(src, 0), netip.AddrPortFrom(dst, 0)}
	return f.raw(header.ProtoIGMP, b).With(TTL(1), TOS(0xc0), IPOptions(RouterAlert()))
}
