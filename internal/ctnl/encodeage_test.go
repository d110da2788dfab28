package ctnl_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/ctnl"
)

// A request for a time has the entry's tuple, its zone and the time, and one to look it up no time.
func TestTimeoutNamesTheEntry(t *testing.T) {
	t.Parallel()
	tcp := tupleOf(nf.TCP, "198.18.0.2:10000", "192.0.2.1:80")
	e := nf.Entry{Orig: tcp, Reply: tcp.Reverse(), Mark: 1, Zone: 7, ZoneDir: nf.Original, ID: 9}
	for _, tt := range []struct {
		msg  []byte
		want nf.Entry
	}{
		{ctnl.AppendTimeout(nil, e, 90*time.Second), nf.Entry{Orig: tcp, Zone: 7, ZoneDir: nf.Original, Timeout: 90 * time.Second}},
		{ctnl.AppendTimeout(nil, e, 0), nf.Entry{Orig: tcp, Zone: 7, ZoneDir: nf.Original}},
		{ctnl.AppendGet(nil, e), nf.Entry{Orig: tcp, Zone: 7, ZoneDir: nf.Original}},
	} {
		got, err := ctnl.DecodeEntry(tt.msg[ctnl.HeaderSize:], ctnl.HeaderSize)
		if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
}

// Requests about an expectation name it by its tuple and zone; the kernel wants a master and a mask beside a time.
func TestExpectationIsNamed(t *testing.T) {
	t.Parallel()
	x := nf.Expectation{
		Tuple: tupleOf(nf.TCP, "192.0.2.1:0", "198.18.0.2:20001"), Mask: tupleOf(nf.TCP, "255.255.255.255:0", "255.255.255.255:65535"),
		Master: tupleOf(nf.TCP, "198.18.0.2:10000", "192.0.2.1:21"), Zone: 7, ID: 9, Helper: "ftp",
	}
	inTime, gone := x, nf.Expectation{Tuple: x.Tuple, Zone: 7, ID: 9}
	inTime.Timeout, inTime.ID, inTime.Helper = time.Minute, 0, ""
	for _, tt := range []struct {
		msg  []byte
		want nf.Expectation
	}{
		{ctnl.AppendExpectTimeout(nil, x, time.Minute), inTime},
		{ctnl.AppendExpectDelete(nil, x), gone},
	} {
		got, err := ctnl.DecodeExpectation(tt.msg[ctnl.HeaderSize:], ctnl.HeaderSize)
		if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
}
