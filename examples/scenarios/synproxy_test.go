package scenarios

import (
	"testing"

	"github.com/google/nftables/expr"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/ctexp/peer"
)

// Linux, tools/testing/selftests/net/netfilter/nft_synproxy.sh: the proxy answers a SYN with a cookie, untracked, and calls
// the server only when the client has answered that. From then on it shifts the server's numbers to those of the cookie.
func TestSYNProxyAnswersFirstAndThenCallsTheServer(t *testing.T) {
	t.Parallel()
	cfg := router(table(
		filterAt(nf.Prerouting, nf.PriorityRaw, when(iif("client"), proto(nf.TCP), tcpFlags(packet.FlagSYN), notrack())),
		filterAt(nf.Forward, nf.PriorityFilter,
			when(state(nf.StateNew|nf.StateEstablished), accept()),
			when(iif("client"), proto(nf.TCP), state(nf.StateUntracked|nf.StateInvalid),
				rule{&expr.SynProxy{Mss: 1460, Wscale: 7, SackPerm: true, Timestamp: true}}),
			when(state(nf.StateInvalid), drop()),
			when(proto(nf.TCP), tcpFlags(packet.FlagSYN), drop())), // no way to the server but by the proxy
	))
	cfg.Sysctls["net.netfilter.nf_conntrack_tcp_loose"] = "0"
	cfg.Silent = false // the proxy's answers are the host's own
	x := ctexp.New(t, cfg)
	client := x.TCP("client", flow(client4, 4000, server4, 5201))
	server := x.TCP("server", packet.Flow{Src: client.Flow().Dst})

	client.MSS, client.Scale, client.SACK, client.Timestamps = 1460, new(uint8(7)), true, true
	server.ISN, server.MSS, server.Scale, server.SACK, server.Timestamps = 5000000, 1460, new(uint8(7)), true, true

	client.Send(peer.Segment{Flags: packet.FlagSYN})
	client.Expect(peer.Segment{Flags: packet.FlagSYN | packet.FlagACK, Window: new(uint16(0))})
	server.ExpectNothing()
	client.Send(peer.Segment{Flags: packet.FlagACK})
	server.Accept()
	client.Expect(peer.Segment{Flags: packet.FlagACK, Window: new(uint16(65535 >> 7))}) // only now it may send
	client.Write([]byte("ping"))
	server.Read(4)
	server.Write([]byte("pong"))
	client.Read(4)

	shift := int32(client.Learnt().ISN - server.ISN)
	want := nf.DirSeqShift{Reply: nf.SeqShift{Before: shift, After: shift}}
	if diff := ctexp.Diff(want, x.Flow(client.Flow().Tuple(nf.TCP)).SeqAdjust); diff != "" {
		t.Errorf("shifts of the sequence numbers (-want +got):\n%s", diff)
	}
}
