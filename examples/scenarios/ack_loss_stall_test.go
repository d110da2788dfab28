package scenarios

import (
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/ctexp/peer"
	"github.com/ctexp/go-ctexp/internal/kernel"
)

// Linux, tools/testing/selftests/net/netfilter/packetdrill/conntrack_ack_loss_stall.pkt: a peer to which the acknowledgements
// were lost sends the very first of 46 acknowledged segments again. It is not INVALID: the host sees it, and repeats its
// acknowledgement, by which the peer goes on (since 6.1, 6e250dcbff1d "netfilter: conntrack: ignore overly delayed tcp packets";
// before it is INVALID).
func TestRetransmissionOfTheFirstSegmentIsNotInvalid(t *testing.T) {
	t.Parallel()
	cfg := host(dropInvalid)
	cfg.Probes = invalidProbes
	x := ctexp.New(t, cfg)
	l, err := x.Env.Listen(t.Context(), "tcp", ":8080")
	ctexp.Require(t, "listen", err)
	client := x.TCP("tun0", flow(remote4, 34375, host4, 8080))
	client.Connect()
	socket, err := l.Accept()
	ctexp.Require(t, "accept", err)

	segment := peer.Segment{Payload: make([]byte, 1460)}
	first := client.Send(segment)
	read(t, socket, len(segment.Payload))
	client.ExpectAck()
	for range 45 / 3 {
		for range 3 {
			client.Send(segment)
		}
		read(t, socket, 3*len(segment.Payload)) // with so much read at once the host does not put its acknowledgement off
		client.ExpectAck()
	}
	x.Inject(packet.Packets(first))

	if !kernel.BesideWindowPasses.Here() {
		client.ExpectNothing()
		if got := x.Tally().Packets["invalid in"]; got != 1 {
			t.Errorf("%d packets were INVALID, want the retransmission", got)
		}
		return
	}
	client.Expect(peer.Segment{Flags: packet.FlagACK, Ack: new(uint32(1 + 46*1460))})
	if diff := ctexp.Diff(map[string]uint64{"invalid in": 0, "invalid out": 0}, x.Tally().Packets); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
