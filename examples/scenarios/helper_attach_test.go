package scenarios

import (
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Linux, tools/testing/selftests/net/netfilter/nft_conntrack_helper.sh: the helper for FTP attaches to flows to the port that
// a rule gives it, of IPv4 and of IPv6. By itself it attaches to none, not even to those to its own port (since 6.0,
// b118509076b3 "netfilter: remove nf_conntrack_helper sysctl and modparam toggles").
func TestHelperAttachesByRuleOnly(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, router(netnsenv.Helper{Name: "ftp", Proto: nf.TCP, Match: nf.Match{DstPort: 2121}}))

	want, got := map[string]string{}, map[string]string{}
	for port, helper := range map[uint16]string{2121: "ftp", 21: ""} {
		for _, f := range []packet.Flow{flow(client4, 1000, server4, port), flow(client6, 1000, server6, port)} {
			client, server := x.TCP("client", f), x.TCP("server", packet.Flow{Src: f.Dst})
			x.Handshake(client, server)
			want[f.String()], got[f.String()] = helper, x.Flow(f.Tuple(nf.TCP)).Helper
		}
	}

	if diff := ctexp.Diff(want, got); diff != "" {
		t.Errorf("helpers of the flows (-want +got):\n%s", diff)
	}
}
