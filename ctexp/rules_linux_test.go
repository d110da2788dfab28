package ctexp_test

import (
	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

// dropHTTP drops TCP to port 80 in input, and counts it.
var dropHTTP = netnsenv.NFTables(func(c *nftables.Conn) error {
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "user"})
	chain := c.AddChain(&nftables.Chain{
		Table: table, Name: "in", Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter,
	})
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{6}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0, 80}},
		&expr.Counter{},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}})
	return nil
})
