package ctnl

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"time"

	"github.com/ti-mo/conntrack"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Entry returns f in the words of package nf.
func Entry(f conntrack.Flow) nf.Entry {
	e := nf.Entry{
		Orig:    tuple(f.TupleOrig),
		Reply:   tuple(f.TupleReply),
		Status:  nf.Status(f.Status),
		Timeout: time.Duration(f.Timeout) * time.Second,
		Mark:    f.Mark,
		Zone:    f.Zone,
		Packets: nf.DirCounts{Orig: f.CountersOrig.Packets, Reply: f.CountersReply.Packets},
		Bytes:   nf.DirCounts{Orig: f.CountersOrig.Bytes, Reply: f.CountersReply.Bytes},
		Labels:  hex.EncodeToString(bytes.TrimRight(f.Labels, "\x00")),
		Helper:  f.Helper.Name,
		ID:      f.ID,
	}
	if f.ProtoInfo.TCP != nil {
		e.State = nf.TCPState(f.ProtoInfo.TCP.State)
	}
	return e
}

func tuple(t conntrack.Tuple) nf.Tuple {
	return nf.Tuple{
		Proto: nf.Proto(t.Proto.Protocol),
		Src:   netip.AddrPortFrom(t.IP.SourceAddress, t.Proto.SourcePort),
		Dst:   netip.AddrPortFrom(t.IP.DestinationAddress, t.Proto.DestinationPort),
		ICMP:  nf.ICMPTuple{Type: t.Proto.ICMPType, Code: t.Proto.ICMPCode, ID: t.Proto.ICMPID},
	}
}
