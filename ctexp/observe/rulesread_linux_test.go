package observe

import (
	"testing"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
)

// A rule that nobody can decode is one line that says so.
func TestRuleThatCannotBeDecodedIsShownAsSuch(t *testing.T) {
	t.Parallel()
	table := nftTable{Table: &nftables.Table{Name: "fw", Family: nftables.TableFamilyIPv4}}
	chain := &nftables.Chain{Name: "in", Table: table.Table}
	read := func(payload []byte) string {
		m := netlink.Message{Data: payload}
		m.Header.Type = netlink.HeaderType(10<<8 | 6) // NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWRULE
		r, err := readRule(table, chain, m)
		if err != nil {
			t.Fatal(err)
		}
		return ruleText(r, nil)
	}
	if got, want := read(ruleOfCt("ct", 1, 2)), "(cannot be read: netlink: attribute 3 is not a uint32; length: 2)"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if got, want := read(ruleOfCt("ct", 1)), "ct reply expiration set 0"; got != want { // key 5
		t.Errorf("got %s\nwant %s", got, want)
	}
}
