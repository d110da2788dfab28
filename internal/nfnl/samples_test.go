package nfnl_test

import (
	"net/netip"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// web is an entry with all fields that can be set.
var web = nf.Entry{
	Orig:   nf.Tuple{Proto: nf.TCP, Src: netip.MustParseAddrPort("198.18.0.2:10000"), Dst: netip.MustParseAddrPort("192.0.2.1:80")},
	Reply:  nf.Tuple{Proto: nf.TCP, Src: netip.MustParseAddrPort("192.0.2.1:80"), Dst: netip.MustParseAddrPort("198.18.0.2:10000")},
	Status: nf.SeenReply | nf.Assured | nf.Confirmed, State: nf.Established, Timeout: 100 * time.Second,
	Mark: 0x2a, Zone: 7, Labels: "0500000001", Helper: "ftp", ID: 9,
}

// ping is the entry of an ICMPv6 echo.
var ping = nf.Entry{
	Orig: nf.Tuple{
		Proto: nf.ICMPv6, Src: netip.MustParseAddrPort("[2001:db8::2]:0"), Dst: netip.MustParseAddrPort("[2001:db8::1]:0"),
		ICMP: nf.ICMPTuple{Type: 128, ID: 7},
	},
	Reply: nf.Tuple{
		Proto: nf.ICMPv6, Src: netip.MustParseAddrPort("[2001:db8::1]:0"), Dst: netip.MustParseAddrPort("[2001:db8::2]:0"),
		ICMP: nf.ICMPTuple{Type: 129, ID: 7},
	},
	Status: nf.Confirmed, Timeout: 30 * time.Second,
}

var comparable = cmpopts.EquateComparable(netip.AddrPort{})
