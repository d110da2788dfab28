package scenarios

import (
	"net"
	"net/netip"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/internal/kernel"
)

// Linux, tools/testing/selftests/net/netfilter/conntrack_reverse_clash.sh and .c: two sockets of one host send to each other
// at once, with NAT on and no rule for them; neither sees another port than the one that the other has (since 6.12,
// d8f84a9bc7c4 "netfilter: nf_nat: don't try nat source port reallocation for reverse dir clash"). The original lets the two
// race while it flushes the table for five seconds; here the one's packet is held before NAT sees it, until the other's flow
// is in the table.
func TestSocketsThatSpeakAtOnceKeepTheirPorts(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Rules: []netnsenv.Ruleset{
		table(natAt(nf.Postrouting, when(oif("nomatch"), masquerade()))),
	}})
	one, other := listenUDP(t, x, "127.0.0.11:56789"), listenUDP(t, x, "127.0.0.12:56790")
	queue := x.Hold(nf.Probe{Hook: nf.Output, Match: nf.Match{Dst: netip.MustParsePrefix("127.0.0.12/32")}})

	send(t, one, other)
	send(t, other, one)
	got := []string{receive(t, one)}
	queue.Release(queue.Held()...)
	got = append(got, receive(t, other))
	send(t, other, one)
	got = append(got, receive(t, one))

	if diff := ctexp.Diff([]string{"127.0.0.12:56790", "127.0.0.11:56789", "127.0.0.12:56790"}, got); diff != "" {
		t.Errorf("senders (-want +got):\n%s", diff)
	}
	if got := len(x.Flows()); got != 1 {
		t.Errorf("%d entries, not one", got)
	}
	// NAT has found the ports taken, by the very flow that this packet answers.
	want := observe.Stats{Found: 1, ClashResolve: 1}
	if !kernel.QueuedClashes.Here() {
		want = observe.Stats{} // the packet has taken that flow's entry when it left the queue
	}
	want.NoChainTooLong = !kernel.ChainTooLong.Here()
	if diff := ctexp.Diff(want, x.Stats()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func listenUDP(t *testing.T, x *ctexp.Experiment, at string) net.PacketConn {
	c, err := x.Env.ListenPacket(t.Context(), "udp", at)
	ctexp.Require(t, "listen", err)
	return c
}

func send(t *testing.T, from, to net.PacketConn) {
	_, err := from.WriteTo([]byte("hello"), to.LocalAddr())
	ctexp.Require(t, "send", err)
}

// receive returns the sender of the next datagram.
func receive(t *testing.T, at net.PacketConn) string {
	_, from, err := at.ReadFrom(make([]byte, 100))
	ctexp.Require(t, "receive", err)
	return from.String()
}
