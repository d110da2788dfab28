package ctnl

import (
	"github.com/ti-mo/conntrack"
	"github.com/ti-mo/netfilter"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Filter returns the part of f that the kernel applies by itself in a dump: family, mark, zone and status. It is a
// saving, not a decision: older kernels apply less of it (the status since 5.15, a zone since 6.8, eff3c558bb7e
// "netfilter: ctnetlink: support filtering by zone"), so f.Match has to be asked about every entry all the same.
// In a flush, where nothing can be asked afterwards, it must not be used for what the running kernel does not know.
//
// With hideFiller the kernel leaves out entries with a fixed timeout, as all of the filler has, unless f asks for that
// bit or for a zone.
func Filter(f nf.Filter, hideFiller bool) conntrack.Filter {
	cf := conntrack.NewFilter().Family(netfilter.ProtoFamily(f.Family))
	if f.MarkMask != 0 {
		cf = cf.Mark(f.Mark & f.MarkMask).MarkMask(f.MarkMask)
	}
	if f.Zone != nil {
		cf = cf.Zone(*f.Zone)
	}
	status, mask := f.Status&f.StatusMask, f.StatusMask
	if hideFiller && f.Zone == nil {
		mask |= nf.FixedTimeout // where f asks for the bit itself, mask and status have it already
	}
	if mask != 0 {
		cf = cf.Status(conntrack.Status(status)).StatusMask(uint32(mask))
	}
	return cf
}
