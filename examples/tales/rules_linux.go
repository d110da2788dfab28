package main

import (
	"encoding/binary"

	nft "github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// nftRules loads rules over netlink, in chains at the priorities of the tables of iptables.
func nftRules(rules []rule) netnsenv.Ruleset {
	return netnsenv.NFTables(func(c *nft.Conn) error {
		t := c.AddTable(&nft.Table{Family: nft.TableFamilyIPv4, Name: nftTable})
		for _, r := range rules {
			chain := c.AddChain(&nft.Chain{
				Table: t, Name: r.at.nft(), Type: nft.ChainTypeFilter, Hooknum: r.at.hook(), Priority: r.at.priority(),
			})
			c.AddRule(&nft.Rule{Table: t, Chain: chain, Exprs: r.exprs()})
		}
		return nil
	})
}

// nftNoRules takes all rules away.
func nftNoRules() netnsenv.Ruleset {
	return netnsenv.NFTables(func(c *nft.Conn) error {
		c.DelTable(&nft.Table{Family: nft.TableFamilyIPv4, Name: nftTable})
		return nil
	})
}

func (p place) hook() *nft.ChainHook {
	return map[string]*nft.ChainHook{
		"PREROUTING": nft.ChainHookPrerouting, "INPUT": nft.ChainHookInput, "FORWARD": nft.ChainHookForward,
		"OUTPUT": nft.ChainHookOutput, "POSTROUTING": nft.ChainHookPostrouting,
	}[p.chain]
}

func (p place) priority() *nft.ChainPriority {
	return nft.ChainPriorityRef(nft.ChainPriority(map[string]int32{
		"raw": nf.PriorityRaw, "mangle": nf.PriorityMangle, "filter": nf.PriorityFilter,
	}[p.table]))
}

// exprs is the rule in the language of nftables: what it matches, a counter, what becomes of it.
func (r rule) exprs() []expr.Any {
	var e []expr.Any
	if r.proto != 0 {
		e = append(e, &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equal([]byte{byte(r.proto)}))
	}
	for offset, port := range []uint16{r.sport, r.dport} {
		if port != 0 {
			e = append(e,
				&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: uint32(2 * offset), Len: 2},
				equal(binary.BigEndian.AppendUint16(nil, port)))
		}
	}
	if r.state != 0 {
		e = append(e,
			&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
			&expr.Bitwise{
				SourceRegister: 1, DestRegister: 1, Len: 4, Xor: make([]byte, 4),
				Mask: binary.NativeEndian.AppendUint32(nil, uint32(r.state)),
			},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)})
	}
	if r.burst != 0 {
		e = append(e, &expr.Limit{Type: expr.LimitTypePkts, Rate: 1, Unit: expr.LimitTimeHour, Burst: uint32(r.burst)})
	}
	return append(append(e, &expr.Counter{}), r.then.exprs()...)
}

func (t target) exprs() []expr.Any {
	switch t {
	case accept:
		return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}
	case drop:
		return []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}
	case refer: // to load the state is to refer to it
		return []expr.Any{&expr.Ct{Key: expr.CtKeySTATE, Register: 1}}
	case notrack:
		return []expr.Any{&expr.Notrack{}}
	case synproxy:
		return []expr.Any{&expr.SynProxy{Mss: 1460, Wscale: 7, Timestamp: true, SackPerm: true}}
	case queue:
		return []expr.Any{&expr.Queue{Total: 1}}
	}
	return nil
}

func equal(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }

// dropAtIngress drops everything that comes in by the first link at the netdev hook, long before conntrack.
func (l *lab) dropAtIngress() {
	link := l.Env.Links()[0].Name()
	l.b.must(netnsenv.NFTables(func(c *nft.Conn) error {
		t := c.AddTable(&nft.Table{Family: nft.TableFamilyNetdev, Name: nftTable})
		chain := c.AddChain(&nft.Chain{
			Table: t, Name: "ingress", Type: nft.ChainTypeFilter, Hooknum: nft.ChainHookIngress,
			Priority: nft.ChainPriorityRef(0), Device: link,
		})
		c.AddRule(&nft.Rule{Table: t, Chain: chain, Exprs: []expr.Any{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop}}})
		return nil
	}).Load(l.b.ctx, l.Env))
}
