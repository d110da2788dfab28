package scenarios

import (
	"net/netip"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/ctexp/peer"
	"github.com/ctexp/go-ctexp/internal/kernel"
)

// Linux, tools/testing/selftests/net/netfilter/packetdrill/conntrack_synack_old.pkt: a SYN+ACK that belongs to an earlier
// incarnation of the connection, and acknowledges another SYN, is INVALID and leaves the entry as it was; the right one is
// accepted though its sequence number is another: less than a window below the old one's, as in the script, or above it. (Not
// so on 6.18 if it is further below: conntrack has taken its window from the old one.)
func TestOldSYNACKLeavesTheEntryAsItWas(t *testing.T) {
	t.Parallel()
	for name, old := range map[string]peer.Segment{ // numbered from the right one
		"a window above": {Seq: new(uint32(60000)), Ack: new(uint32(643160523))},
		"far below":      {Seq: new(uint32(3 << 30)), Ack: new(uint32(643160523))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := host(dropInvalid)
			cfg.Probes = invalidProbes
			x := ctexp.New(t, cfg)
			server := x.TCP("tun0", packet.Flow{Src: netip.AddrPortFrom(remote4, 8080)})
			server.Scale, server.Timestamps = new(uint8(0)), true
			dialed := dialing(t, x, "tcp", server.Flow().Src)
			server.Expect(peer.Segment{Flags: packet.FlagSYN})

			right := peer.Segment{Flags: packet.FlagSYN | packet.FlagACK}
			old.Flags = right.Flags
			got := x.States(server.Flow().Tuple(nf.TCP), packet.Packets(server.Packet(old), server.Packet(right)))
			if name == "far below" && !kernel.SYNACKRenewed.Here() {
				want := []string{"SYN_SENT [UNREPLIED]", "SYN_SENT [UNREPLIED]"}
				if diff := ctexp.Diff(want, got); diff != "" || x.Tally().Packets["invalid in"] != 2 {
					t.Errorf("%v, want both to be INVALID (-want +got):\n%s", x.Tally().Packets, diff)
				}
				return
			}
			write(t, dialed(), "x")
			server.Expect(peer.Segment{Payload: []byte("x")})

			if diff := ctexp.Diff([]string{"SYN_SENT [UNREPLIED]", "ESTABLISHED [ASSURED]"}, got); diff != "" {
				t.Errorf("the entry after the old SYN+ACK and after the right one (-want +got):\n%s", diff)
			}
			if diff := ctexp.Diff(map[string]uint64{"invalid in": 1, "invalid out": 0}, x.Tally().Packets); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
