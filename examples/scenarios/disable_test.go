package scenarios

import (
	"testing"

	"github.com/google/nftables"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Linux, tools/testing/selftests/net/netfilter/conntrack_resize.sh (test_conntrack_disable): when the last rule that uses
// conntrack is gone, new traffic makes no entry in that namespace, while another namespace still tracks.
func TestWithoutARuleThatNeedsItNothingIsTracked(t *testing.T) {
	t.Parallel()
	cfg := netnsenv.Config{
		Silent:    true,
		Conntrack: netnsenv.Off, // left to the rule
		Rules:     []netnsenv.Ruleset{table(filterAt(nf.Input, nf.PriorityFilter, when(state(nf.StateNew), count())))},
	}
	here, there := ctexp.New(t, cfg), ctexp.New(t, cfg)

	here.Load(netnsenv.NFTables(func(c *nftables.Conn) error {
		c.DelTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "scenario"})
		return nil
	}))
	// The kernel takes rules apart behind a grace period of RCU, and conntrack's hooks with the last that needs them
	// (net/netfilter/nft_ct.c, nft_ct_get_destroy).
	here.Await("conntrack is gone", func() bool {
		here.Flush()
		here.Inject(packet.Packets(ping(0)))
		return len(here.Flows()) == 0
	})
	here.Inject(pings(254))
	there.Inject(pings(254))

	want := map[string]int{"here": 0, "there": 254}
	if diff := ctexp.Diff(want, map[string]int{"here": len(here.Flows()), "there": len(there.Flows())}); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}
