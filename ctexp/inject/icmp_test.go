package inject_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func ExampleEcho() {
	fmt.Println(inject.Echo(netip.MustParseAddr("198.18.0.2"), netip.MustParseAddr("192.0.2.1"), 7, 1, []byte("hello")))
	fmt.Println(inject.Echo(netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("2001:db8::1"), 7, 1, nil))
	// Output:
	// IP 198.18.0.2 > 192.0.2.1: ICMP echo request, id 7, seq 1, length 13
	// IP6 2001:db8::2 > 2001:db8::1: ICMP6, echo request, id 7, seq 1, length 8
}

func TestAnEchoReplyHasTheReverseTuple(t *testing.T) {
	t.Parallel()
	for _, f := range []inject.Flow{web, web6} {
		src, dst := f.Src.Addr(), f.Dst.Addr()
		want := inject.Echo(src, dst, 7, 1, nil).Tuple().Reverse()

		got := inject.EchoReply(dst, src, 7, 1, nil).Tuple()

		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(nf.Tuple{})); diff != "" {
			t.Errorf("tuple of the reply (-want +got):\n%s", diff)
		}
	}
}
