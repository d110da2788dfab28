package scenarios

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// What the scenarios need of the language of nft, in the expressions of nftables.Conn, so that they need no program nft.

// chain is a base chain with its rules.
type chain struct {
	nftables.Chain
	rules []rule
}

// rule is what a rule matches, and then does.
type rule []expr.Any

// table is a table inet of chains.
func table(chains ...chain) netnsenv.Ruleset { return tableWith(nil, chains...) }

// tableWith is a table of chains whose rules speak of objects, such as a helper.
func tableWith(objects []nftables.NamedObj, chains ...chain) netnsenv.Ruleset {
	return netnsenv.NFTables(func(c *nftables.Conn) error {
		t := c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "scenario"})
		for _, o := range objects {
			o.Table = t
			c.AddObj(&o)
		}
		for i, ch := range chains {
			ch.Table, ch.Name = t, string(rune('a'+i))
			added := c.AddChain(&ch.Chain)
			for _, r := range ch.rules {
				c.AddRule(&nftables.Rule{Table: t, Chain: added, Exprs: r})
			}
		}
		return nil
	})
}

// filterAt is a chain of type filter.
func filterAt(hook nf.Hook, priority int32, rules ...rule) chain {
	return chain{nftables.Chain{
		Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookRef(nftables.ChainHook(hook)),
		Priority: nftables.ChainPriorityRef(nftables.ChainPriority(priority)),
	}, rules}
}

// natAt is a chain of type nat, at the priority that belongs to the hook.
func natAt(hook nf.Hook, rules ...rule) chain {
	priority := nf.PriorityDNAT
	if hook == nf.Postrouting || hook == nf.Input {
		priority = nf.PrioritySNAT
	}
	c := filterAt(hook, priority, rules...)
	c.Type = nftables.ChainTypeNAT
	return c
}

// when is a rule of several parts.
func when(parts ...rule) rule { return slices.Concat(parts...) }

func equals(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }

func native(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

func network(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }

func load(data []byte) expr.Any { return &expr.Immediate{Register: 1, Data: data} }

func meta(key expr.MetaKey, data []byte) rule {
	return rule{&expr.Meta{Key: key, Register: 1}, equals(data)}
}

// name is how the kernel compares a whole name.
func name(s string) []byte { return append([]byte(s), make([]byte, 16-len(s))...) }

func iif(link string) rule    { return meta(expr.MetaKeyIIFNAME, name(link)) }
func oif(link string) rule    { return meta(expr.MetaKeyOIFNAME, name(link)) }
func proto(p nf.Proto) rule   { return meta(expr.MetaKeyL4PROTO, []byte{byte(p)}) }
func family(f nf.Family) rule { return meta(expr.MetaKeyNFPROTO, []byte{byte(f)}) }

// dport matches a protocol and its destination port.
func dport(p nf.Proto, port uint16) rule {
	return append(proto(p), &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}, equals(network(port)))
}

// tcpFlags matches segments that have one of the flags.
func tcpFlags(f packet.TCPFlags) rule {
	return rule{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{byte(f)}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{0}},
	}
}

// daddr matches the destination.
func daddr(a netip.Addr) rule {
	at, size := uint32(16), uint32(4)
	if a.Is6() {
		at, size = 24, 16
	}
	return append(family(nf.FamilyOf(a)), &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: at, Len: size}, equals(a.AsSlice()))
}

// state matches packets of some classes.
func state(s nf.CTState) rule {
	return rule{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: native(uint32(s)), Xor: native(0)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: native(0)},
	}
}

func setCTMark(mark uint32) rule {
	return rule{load(native(mark)), &expr.Ct{Key: expr.CtKeyMARK, Register: 1, SourceRegister: true}}
}

func setZone(zone uint16) rule {
	return rule{load(binary.NativeEndian.AppendUint16(nil, zone)), &expr.Ct{Key: expr.CtKeyZONE, Register: 1, SourceRegister: true}}
}

func count() rule   { return rule{&expr.Counter{}} }
func drop() rule    { return rule{&expr.Verdict{Kind: expr.VerdictDrop}} }
func accept() rule  { return rule{&expr.Verdict{Kind: expr.VerdictAccept}} }
func notrack() rule { return rule{&expr.Notrack{}} }

func masquerade() rule { return rule{&expr.Masq{}} }

// snat and dnat translate to an address, and to a port if that is not zero.
func snat(a netip.Addr, port uint16) rule { return translate(expr.NATTypeSourceNAT, a, port) }
func dnat(a netip.Addr, port uint16) rule { return translate(expr.NATTypeDestNAT, a, port) }

func translate(typ expr.NATType, a netip.Addr, port uint16) rule {
	to := &expr.NAT{Type: typ, Family: uint32(nf.FamilyOf(a)), RegAddrMin: 1}
	r := rule{load(a.AsSlice())}
	if port != 0 {
		to.RegProtoMin, to.Specified = 2, true
		r = append(r, &expr.Immediate{Register: 2, Data: network(port)})
	}
	return append(family(nf.FamilyOf(a)), append(r, to)...)
}
