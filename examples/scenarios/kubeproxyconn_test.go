package scenarios

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// conn is the ruleset of text as a program loads it that drives nftables itself.
func (k kubeProxy) conn() netnsenv.Ruleset {
	return netnsenv.NFTables(func(c *nftables.Conn) error {
		t := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "kube-proxy"})
		c.DelTable(t)
		c.AddTable(t)
		for _, name := range []string{"services", "masquerading", "mark-for-masquerade", "service", "endpoint-1", "endpoint-2"} {
			c.AddChain(&nftables.Chain{Table: t, Name: name})
		}
		base := func(name string, typ nftables.ChainType, hook nf.Hook, priority int32) {
			c.AddChain(&nftables.Chain{
				Table: t, Name: name, Type: typ, Hooknum: nftables.ChainHookRef(nftables.ChainHook(hook)),
				Priority: nftables.ChainPriorityRef(nftables.ChainPriority(priority)),
			})
		}
		base("filter-forward", nftables.ChainTypeFilter, nf.Forward, nf.PriorityFilter)
		base("nat-prerouting", nftables.ChainTypeNAT, nf.Prerouting, nf.PriorityDNAT)
		base("nat-postrouting", nftables.ChainTypeNAT, nf.Postrouting, nf.PrioritySNAT)

		l4 := map[string]nf.Proto{"tcp": nf.TCP, "udp": nf.UDP}[k.Proto]
		vips := &nftables.Set{
			Table: t, Name: "service-ips", IsMap: true, Concatenation: true, DataType: nftables.TypeVerdict,
			KeyType: nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetProto, nftables.TypeInetService),
		}
		ports := &nftables.Set{
			Table: t, Anonymous: true, Constant: true, IsMap: true, KeyType: nftables.TypeInteger, DataType: nftables.TypeVerdict,
		}
		jumps := func(chain string) *expr.Verdict { return &expr.Verdict{Kind: expr.VerdictGoto, Chain: chain} }
		err := c.AddSet(vips, []nftables.SetElement{{
			Key:         append(service.Addr().AsSlice(), byte(l4), 0, 0, 0, 0, 80, 0, 0), // each in words of 4 bytes
			VerdictData: jumps("service"),
		}})
		if err != nil {
			return err
		}
		err = c.AddSet(ports, []nftables.SetElement{
			{Key: native(0), VerdictData: jumps("endpoint-1")}, {Key: native(1), VerdictData: jumps("endpoint-2")},
		})
		if err != nil {
			return err
		}

		add := func(chain string, parts ...rule) {
			c.AddRule(&nftables.Rule{Table: t, Chain: &nftables.Chain{Name: chain}, Exprs: when(parts...)})
		}
		jump := func(chain string) rule { return rule{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}} }
		mark := func(mask, xor uint32) rule { // meta mark set meta mark & mask ^ xor
			return rule{
				&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
				&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: native(mask), Xor: native(xor)},
				&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true},
			}
		}
		saddr := &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4}
		if !k.LetsInvalid {
			add("filter-forward", state(nf.StateInvalid), drop())
		}
		add("nat-prerouting", jump("services"))
		add("nat-postrouting", jump("masquerading"))
		add("services", rule{ // registers 8, 9 and 10 are words that follow each other
			&expr.Payload{DestRegister: 8, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4},
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 9},
			&expr.Payload{DestRegister: 10, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			&expr.Lookup{SourceRegister: 8, SetName: vips.Name, SetID: vips.ID, IsDestRegSet: true},
		})
		add("masquerading", rule{
			&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: native(0x4000), Xor: native(0)},
			equals(native(0)), &expr.Verdict{Kind: expr.VerdictReturn},
		})
		add("masquerading", mark(^uint32(0), 0x4000))
		add("masquerading", masquerade())
		add("mark-for-masquerade", mark(^uint32(0x4000), 0x4000))
		add("service", rule{
			saddr, &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: []byte{255, 255, 0, 0}, Xor: native(0)},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{10, 0, 0, 0}},
		}, jump("mark-for-masquerade"))
		add("service", rule{
			&expr.Numgen{Register: 1, Modulus: 2, Type: 0 /* NFT_NG_INCREMENTAL */},
			&expr.Lookup{SourceRegister: 1, SetName: ports.Name, SetID: ports.ID, IsDestRegSet: true},
		})
		for i, e := range k.Endpoints {
			chain := fmt.Sprint("endpoint-", i+1)
			add(chain, rule{saddr, equals(e.Addr().AsSlice())}, jump("mark-for-masquerade"))
			add(chain, proto(l4), translate(expr.NATTypeDestNAT, e.Addr(), e.Port())[2:]) // the table is IPv4's alone
		}
		return nil
	})
}
