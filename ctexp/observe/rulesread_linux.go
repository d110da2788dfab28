package observe

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"github.com/ti-mo/netfilter"
	"golang.org/x/sys/unix"
)

// chainRules reads the rules of a chain, one by one: what google/nftables cannot decode keeps nobody from the others.
func (o *Observer) chainRules(t nftTable, c *nftables.Chain) ([]*nftables.Rule, error) {
	answers, err := o.dumpRules(t, c.Name)
	if err != nil {
		return nil, fmt.Errorf("read rules of nftables chain %s %s: %w", t.Name, c.Name, err)
	}
	var rules []*nftables.Rule
	for _, m := range answers {
		r, err := readRule(t, c, m)
		if err != nil {
			return nil, fmt.Errorf("read rules of nftables chain %s %s: %w", t.Name, c.Name, err)
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// readRule decodes one message. Of a rule that cannot be decoded the comment says so.
func readRule(t nftTable, c *nftables.Chain, m netlink.Message) (*nftables.Rule, error) {
	handle, _, err := decodeNames(m.Data)
	if err != nil {
		return nil, err
	}
	if err := mendRule(m.Data); err != nil {
		return nil, err
	}
	r, err := decodeRule(t, c, m)
	if err != nil {
		r = &nftables.Rule{Table: t.Table, Chain: c, Handle: handle}
		r.UserData = userdata.AppendString(nil, userdata.TypeComment, fmt.Sprintf("(cannot be read: %v)", err))
	}
	return r, nil
}

// dumpRules returns the messages of a table's rules, or those of one of its chains.
func (o *Observer) dumpRules(t nftTable, chain string) ([]netlink.Message, error) {
	attrs := []netfilter.Attribute{{Type: nftaRuleTable, Data: append([]byte(t.Name), 0)}}
	if chain != "" {
		attrs = append(attrs, netfilter.Attribute{Type: nftaRuleChain, Data: append([]byte(chain), 0)})
	}
	req, err := netfilter.MarshalNetlink(netfilter.Header{
		SubsystemID: netfilter.NFSubsysNFTables,
		MessageType: unix.NFT_MSG_GETRULE,
		Family:      netfilter.ProtoFamily(t.Family),
		Flags:       netlink.Dump,
	}, attrs)
	if err != nil {
		return nil, err
	}
	return o.table.Query(req)
}

// decodeRule has google/nftables decode a message, which it does only with what a connection gives it.
func decodeRule(t nftTable, c *nftables.Chain, m netlink.Message) (*nftables.Rule, error) {
	m.Header.Flags &^= netlink.Multi
	conn, err := nftables.New(nftables.WithTestDial(func([]netlink.Message) ([]netlink.Message, error) {
		return []netlink.Message{m}, nil
	}))
	if err != nil {
		return nil, err
	}
	rules, err := conn.GetRules(t.Table, c)
	if err != nil {
		return nil, err
	}
	if len(rules) != 1 {
		return nil, fmt.Errorf("one message with %d rules", len(rules))
	}
	return rules[0], nil
}
