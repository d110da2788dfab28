package scenarios

import (
	"net/netip"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/ctexp/peer"
)

// Linux, tools/testing/selftests/net/netfilter/packetdrill/conntrack_rst_invalid.pkt: RSTs that are not at the number which
// the host awaits leave an established connection established; four of them are INVALID, below that number or far beyond the
// window. The exact one closes it.
//
// The script calls 42 "in window", but by then the host has acknowledged 3000 bytes. One that really is in the window is not
// INVALID: conntrack lets it pass, for the host to answer with a challenge ACK, and the state stays as it is
// (net/netfilter/nf_conntrack_proto_tcp.c, nf_conntrack_tcp_packet: "keep established state to allow a possible challenge
// ACK"). It is not in the script, but here, in the fourth place.
func TestOnlyTheExactRSTCloses(t *testing.T) {
	t.Parallel()
	cfg := host(dropInvalid)
	cfg.Probes = invalidProbes
	x := ctexp.New(t, cfg)
	server := x.TCP("tun0", packet.Flow{Src: netip.AddrPortFrom(remote4, 8080)})
	server.MSS = 1460
	dialed := dialing(t, x, "tcp", server.Flow().Src)
	server.Accept()
	socket := dialed()
	for range 3 {
		server.Send(peer.Segment{Flags: packet.FlagACK, Payload: make([]byte, 1000)})
	}
	server.ExpectAck()
	write(t, socket, string(make([]byte, 1000)))
	server.Expect(peer.Segment{Payload: make([]byte, 1000)}) // and does not acknowledge it yet

	connection := server.Flow().Tuple(nf.TCP)
	var got []string
	for _, seq := range []uint32{0, 1000000, 42, 4000} {
		rst := server.Packet(peer.Segment{Flags: packet.FlagRST, Seq: &seq})
		got = append(got, x.States(connection, packet.Packets(rst))...)
	}
	server.Ack()
	for _, seq := range []uint32{3000, 3001} {
		rst := server.Packet(peer.Segment{Flags: packet.FlagRST | packet.FlagACK, Seq: &seq})
		got = append(got, x.States(connection, packet.Packets(rst))...)
	}

	const open, closed = "ESTABLISHED [ASSURED]", "CLOSE [ASSURED]"
	if diff := ctexp.Diff([]string{open, open, open, open, open, closed}, got); diff != "" {
		t.Errorf("the entry after each RST (-want +got):\n%s", diff)
	}
	if diff := ctexp.Diff(map[string]uint64{"invalid in": 4, "invalid out": 0}, x.Tally().Packets); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
