package scenarios

import (
	"fmt"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/ctexp/peer"
	"github.com/ctexp/go-ctexp/internal/kernel"
)

// gVisor, pkg/tcpip/stack/conntrack_test.go, TestWindowScaling: data is held against the window that the receiver has
// announced, scaled by the receiver's own shift, whatever that of the sender. What begins inside is accepted; what ends more
// than a window beyond it is INVALID. (In between Linux says so and, since 6.1, lets it pass; gVisor takes what fits.)
func TestDataIsHeldAgainstTheScaledWindow(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ syn, synack uint8 }{
		"no scale":             {0, 0},
		"the same scale":       {1, 1},
		"SYN scale larger":     {2, 1},
		"SYN+ACK scale larger": {1, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := ctexp.New(t, router(table(filterAt(nf.Forward, nf.PriorityFilter, when(state(nf.StateInvalid), drop())))))
			client := x.TCP("client", flow(client4, 5555, server4, 6666))
			server := x.TCP("server", packet.Flow{Src: client.Flow().Dst})
			client.ISN, client.Scale, server.Scale, server.Window = 1000000, &tt.syn, &tt.synack, 1000
			x.Handshake(client, server)
			server.Send(peer.Segment{}) // the first window that is scaled
			window := uint32(1000) << tt.synack

			inside, above, beyond := window, 2*window-1, 2*window // where a byte begins; the first one begins at 1
			for _, seq := range []*uint32{&inside, &above, &beyond} {
				client.Send(peer.Segment{Seq: seq, Payload: []byte{0}})
			}

			server.Expect(peer.Segment{Seq: &inside})
			const over = "SEQ is over the upper bound (over the window of the receiver)"
			want := []string{over, over}
			if kernel.BesideWindowPasses.Here() {
				server.Expect(peer.Segment{Seq: &above})
				want = []string{
					fmt.Sprintf("%d bytes more than expected", window),
					fmt.Sprintf("SEQ is over upper bound %d (over the window of the receiver)", client.ISN+1+window+1),
				}
			}
			server.ExpectNothing()
			var got []string
			for _, r := range x.Reasons() {
				got = append(got, r.Text)
			}
			if diff := ctexp.Diff(want, got); diff != "" {
				t.Errorf("what conntrack says of bytes inside a window of %d, above and beyond it (-want +got):\n%s", window, diff)
			}
		})
	}
}
