package scenarios

import (
	"net/netip"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Kubernetes, test/e2e/network/conntrack.go, "should be able to preserve UDP traffic …", #105657 and #125467: a client that
// goes on calling a UDP service is sent where its first call went, to an endpoint that is gone by now, or, if there was none
// yet, to the service's own address, until its entry is deleted.
func TestStaleUDPEntryIsABlackHoleUntilDeleted(t *testing.T) {
	t.Parallel()
	endpoint := func(n byte) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, n}), 8080)
	}
	before := kubeProxy{Proto: "udp", Endpoints: [2]netip.AddrPort{endpoint(11), endpoint(12)}}.renderings()
	after := kubeProxy{Proto: "udp", Endpoints: [2]netip.AddrPort{endpoint(21), endpoint(22)}}.renderings()
	for name, tt := range map[string]struct {
		before, after netnsenv.Ruleset
		first         netip.AddrPort
	}{
		"text, endpoint changed":          {before["text"], after["text"], endpoint(11)},
		"nftables.Conn, endpoint changed": {before["nftables.Conn"], after["nftables.Conn"], endpoint(11)},
		"text, first endpoint":            {table(), after["text"], service},
		"nftables.Conn, first endpoint":   {table(), after["nftables.Conn"], service},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := router(tt.before)
			cfg.Links[1].Routes = prefixes("0.0.0.0/0")
			x := ctexp.New(t, cfg)
			call := packet.Flow{Src: netip.AddrPortFrom(client4, 12345), Dst: service}.UDP([]byte("hostname"))

			x.InjectOn("client", packet.Packets(call))
			x.Load(tt.after)
			x.InjectOn("client", packet.Packets(call, call))
			x.Flush(nf.Filter{Tuple: call.Tuple()})
			x.InjectOn("client", packet.Packets(call))

			var got []netip.AddrPort
			for _, f := range (packet.Match{Out: "server", Proto: nf.UDP}).Select(x.Frames()) {
				got = append(got, f.Tuple().Dst)
			}
			want := []netip.AddrPort{tt.first, tt.first, tt.first, endpoint(21)}
			if diff := ctexp.Diff(want, got); diff != "" {
				t.Errorf("calls went to (-want +got):\n%s", diff)
			}
		})
	}
}
