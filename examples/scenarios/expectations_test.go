package scenarios

import (
	"fmt"
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// ti-mo/conntrack, expect_integration_test.go ("No meaningful integration test possible until we can figure out how to
// create expects from userspace"): packets make them. An expectation is dumped while it lives; one is used up by the flow
// that it stands for, another comes to its end by itself.
func TestExpectationsAreMadeFulfilledAndExpire(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, router(netnsenv.Expect{
		Match: nf.Match{Proto: nf.TCP, DstPort: 21}, Proto: nf.TCP, Port: 30000, Timeout: 300 * time.Second,
	}))
	master, other := flow(client4, 42000, server4, 21), flow(client4.Next(), 42000, server4, 21)
	data := flow(server4, 20, client4, 30000)
	expected := func(f packet.Flow) string {
		return fmt.Sprintf("tcp src=%v dst=%v sport=0 dport=30000 master %v", f.Dst.Addr(), f.Src.Addr(), f.Tuple(nf.TCP))
	}
	var got [][]string
	look := func() {
		var lines []string
		for _, e := range x.Expectations() {
			if e.Helper == "nft_ct_expect" {
				e.Helper = "" // Linux 7.3 has a helper for what rules expect
			}
			lines = append(lines, e.String())
		}
		got = append(got, lines)
	}

	for _, f := range []packet.Flow{master, other} {
		x.States(f.Tuple(nf.TCP), packet.Packets(packet.SYN(f), packet.SYNACK(f.Reverse()), packet.ACK(f)))
	}
	look()
	x.InjectOn("server", packet.Packets(packet.SYN(data)))
	look()
	related := x.Flow(data.Tuple(nf.TCP))
	x.Age(200 * time.Second)
	look()
	x.Age(100 * time.Second)
	look()

	want := [][]string{{expected(master), expected(other)}, {expected(other)}, {expected(other)}, nil}
	if diff := ctexp.Diff(want, got); diff != "" {
		t.Errorf("expectations after two masters, after the flow of one, 200 s later, 300 s later (-want +got):\n%s", diff)
	}
	if diff := ctexp.Diff(master.Tuple(nf.TCP), related.Master); diff != "" {
		t.Errorf("master of %v (-want +got):\n%s", related, diff)
	}
}
