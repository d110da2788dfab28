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

// Kubernetes, test/e2e/network/conntrack.go, #74839: a segment of the endpoint that is out of the window is INVALID, so that
// nobody translates it back; with the rule that drops it the client sees nothing, without it a segment from a
// stranger, which it would answer with a RST.
//
// The segment of the original, 100,000 below what the client awaits, no longer does this: since Linux 6.1 what is below the
// window, or at most one window above it, is let pass, and translated.
func TestNothingReachesTheClientUntranslated(t *testing.T) {
	t.Parallel()
	endpoint := netip.AddrPortFrom(server4, 9000)
	for _, lets := range []bool{false, true} {
		k := kubeProxy{Proto: "tcp", Endpoints: [2]netip.AddrPort{endpoint, endpoint}, LetsInvalid: lets}
		for name, rules := range k.renderings() {
			if lets {
				name += ", without the rule"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				x := ctexp.New(t, router(rules))
				client := x.TCP("client", packet.Flow{Src: netip.AddrPortFrom(client4, 4000), Dst: service})
				server := x.TCP("server", packet.Flow{Src: endpoint})

				x.Handshake(client, server)
				below, beyond := server.Next()-100000, server.Next()+200000
				server.Send(peer.Segment{Seq: &below, Payload: []byte("boom!!!")})
				server.Send(peer.Segment{Seq: &beyond, Payload: []byte("boom!!!")})

				var got []netip.AddrPort
				for _, f := range (packet.Match{Out: "client", Proto: nf.TCP}).Select(x.Frames()) {
					got = append(got, f.Tuple().Src)
				}
				want := []netip.AddrPort{service} // the SYN+ACK
				if kernel.BesideWindowPasses.Here() {
					want = append(want, service) // what is below
				} else if lets {
					want = append(want, endpoint) // INVALID, too
				}
				if lets {
					want = append(want, endpoint)
				}
				if diff := ctexp.Diff(want, got); diff != "" {
					t.Errorf("the client was spoken to by (-want +got):\n%s", diff)
				}
			})
		}
	}
}
