package nfnl

import (
	"github.com/ti-mo/conntrack"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Flow converts e for Create, Update and Delete of ti-mo/conntrack. The timeout is rounded up to whole seconds. The
// counters, which only the kernel sets, are left out. It panics if the labels are not hexadecimal.
//
// A nonzero status is passed on unchanged. The kernel accepts it only with Confirmed and without Expected and Dying
// (net/netfilter/nf_conntrack_netlink.c, ctnetlink_change_status).
func Flow(e nf.Entry) conntrack.Flow {
	f := conntrack.Flow{
		TupleOrig:  flowTuple(e.Orig, zoneIn(&e, nf.Original)),
		TupleReply: flowTuple(e.Reply, zoneIn(&e, nf.Reply)),
		Status:     conntrack.Status(e.Status),
		Timeout:    wholeSeconds(e.Timeout),
		Mark:       e.Mark,
		Labels:     labels(e.Labels),
	}
	if e.ZoneDir == 0 {
		f.Zone = e.Zone
	}
	if e.Helper != "" {
		// The kernel requires the NUL (nf_conntrack_netlink.c, help_nla_policy), which ti-mo/conntrack v0.6.0 does not
		// write.
		f.Helper.Name = e.Helper + "\x00"
	}
	if e.State != nf.TCPNone {
		f.ProtoInfo.TCP = &conntrack.ProtoInfoTCP{State: uint8(e.State)}
	}
	return f
}

func flowTuple(t nf.Tuple, zone uint16) conntrack.Tuple {
	return conntrack.Tuple{
		Zone: zone,
		IP: conntrack.IPTuple{
			SourceAddress:      t.Src.Addr().Unmap(),
			DestinationAddress: t.Dst.Addr().Unmap(),
		},
		Proto: conntrack.ProtoTuple{
			Protocol:        uint8(t.Proto),
			SourcePort:      t.Src.Port(),
			DestinationPort: t.Dst.Port(),
			ICMPv4:          t.Proto == nf.ICMP,
			ICMPv6:          t.Proto == nf.ICMPv6,
			ICMPID:          t.ICMP.ID,
			ICMPType:        t.ICMP.Type,
			ICMPCode:        t.ICMP.Code,
		},
	}
}
