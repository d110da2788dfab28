package nfnl_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

func wholeExpectation() []byte {
	return body(
		tupleMessage(1, client, server, 6, 10000, 21),
		tupleMessage(2, server, client, 6, 0, 20001),
		tupleMessage(3, "\xff\xff\xff\xff", "\xff\xff\xff\xff", 6, 0, 0xffff),
		attr(4, u32(300)), attr(5, u32(7)), attr(6, []byte("ftp\x00")), attr(7, u16(3)), attr(8, u32(1)), attr(9, u32(2)),
		attr(10|nested, attr(1, u32(1)), tupleMessage(2, client, "\x00\x00\x00\x00", 6, 5, 0)),
		attr(11, []byte("nat-follow-master\x00")),
	)
}

func TestExpectationIsDecoded(t *testing.T) {
	t.Parallel()
	got, unknown, err := nfnl.DecodeWholeExpectation(wholeExpectation(), 16)
	want := nf.Expectation{
		Tuple: tupleOf(nf.TCP, "192.0.2.1:0", "198.18.0.2:20001"), Mask: tupleOf(nf.TCP, "255.255.255.255:0", "255.255.255.255:65535"),
		Master: tupleOf(nf.TCP, "198.18.0.2:10000", "192.0.2.1:21"), Timeout: 300 * time.Second, Zone: 3, Helper: "ftp",
		Function: "nat-follow-master", Class: 2, Flags: nf.ExpectPermanent,
		NAT: nf.ExpectNAT{Tuple: tupleOf(nf.TCP, "198.18.0.2:5", "0.0.0.0:0"), Reply: true}, ID: 7,
	}
	if diff := cmp.Diff(want, got, comparable); diff != "" || unknown != nil || err != nil {
		t.Errorf("%v, %v (-want +got):\n%s", unknown, err, diff)
	}
}

func TestUnknownAttributesOfExpectationsAreReported(t *testing.T) {
	t.Parallel()
	for want, attrs := range map[string][]byte{
		"netlink attribute of type 99, value at offset 24: unknown attribute of the expectation":      attr(99),
		"netlink attribute of type 3, value at offset 28: unknown attribute of the expectation's NAT": attr(10|nested, attr(3, u8(1))),
	} {
		x, unknown, err := nfnl.DecodeWholeExpectation(body(attrs, attr(5, u32(7))), 16)
		if err != nil || unknown == nil || unknown.Error() != want || x.ID != 7 {
			t.Errorf("got id %d, %v, %v; want %s", x.ID, unknown, err, want)
		}
	}
}

// Requests identify an expectation by its tuple and zone. To set a timeout the kernel also requires a master and a mask.
func TestRequestsIdentifyTheExpectation(t *testing.T) {
	t.Parallel()
	x := nf.Expectation{
		Tuple: tupleOf(nf.TCP, "192.0.2.1:0", "198.18.0.2:20001"), Mask: tupleOf(nf.TCP, "255.255.255.255:0", "255.255.255.255:65535"),
		Master: tupleOf(nf.TCP, "198.18.0.2:10000", "192.0.2.1:21"), Zone: 7, ID: 9, Helper: "ftp",
	}
	inTime, gone := x, nf.Expectation{Tuple: x.Tuple, Zone: 7, ID: 9}
	inTime.Timeout, inTime.ID, inTime.Helper = time.Minute, 0, ""
	whole := x
	whole.ID, whole.Timeout, whole.Flags, whole.Class = 0, 300*time.Second, nf.ExpectPermanent|nf.ExpectUserspace, 1
	for _, tt := range []struct {
		msg  []byte
		want nf.Expectation
	}{
		{nfnl.AppendExpect(nil, whole), whole},
		{nfnl.AppendExpectTimeout(nil, x, time.Minute), inTime},
		{nfnl.AppendExpectDelete(nil, x), gone},
	} {
		got, err := nfnl.DecodeExpectation(tt.msg[nfnl.HeaderSize:], nfnl.HeaderSize)
		if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
}
