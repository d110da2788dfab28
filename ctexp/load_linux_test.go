package ctexp_test

import (
	"testing"

	"github.com/google/nftables"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

// Rules come and go while the experiment goes on.
func TestRulesAreLoadedLater(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Silent: true})
	drop := func(c *nftables.Conn) error {
		table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "later"})
		policy := nftables.ChainPolicyDrop
		c.AddChain(&nftables.Chain{
			Table: table, Name: "in", Type: nftables.ChainTypeFilter, Policy: &policy,
			Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter,
		})
		return nil
	}
	x.Load(netnsenv.NFTables(drop))
	x.Inject(inject.SYNs(3, web))
	x.Load(netnsenv.NFTables(func(c *nftables.Conn) error {
		c.DelTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "later"})
		return nil
	}))
	x.Inject(inject.SYNs(2, web))
	if diff := x.Tally().Diff(observe.Tally{Entries: 2}); diff != "" {
		t.Errorf("3 packets into a DROP, 2 behind it (-want +got):\n%s", diff)
	}
}
