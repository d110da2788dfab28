package netnsenv

import (
	"fmt"
	"strconv"

	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// ctRule is an object of nftables that is assigned to flows, and which flows. google/nftables can make neither: its timeout
// object writes into variables that all share, and it sends no table, object and rules in one transaction.
type ctRule struct {
	kind   uint32 // NFT_OBJECT_CT_…
	name   string
	match  nf.Match
	family nf.Family
	zone   *uint16
	data   func(*netlink.AttributeEncoder) error // of the object
}

// assign makes a table with objects and the rules that assign them, right behind conntrack: the entry is there, and not
// confirmed yet. A table without a name is named by the kind.
func (e *Env) assign(table, kind string, rules ...ctRule) error {
	b := nftBatch{table: table}
	if table == "" {
		e.mu.Lock()
		e.assigned++
		b.table = fmt.Sprintf("ct_%s_%d", kind, e.assigned)
		e.mu.Unlock()
	}
	b.add(unix.NFT_MSG_NEWTABLE, func(a *netlink.AttributeEncoder) error {
		a.String(unix.NFTA_TABLE_NAME, b.table)
		return nil
	})
	for _, hook := range []nf.Hook{nf.Prerouting, nf.Output} {
		b.addChain(hook, nf.PriorityConntrack+1)
	}
	for _, r := range rules {
		b.add(unix.NFT_MSG_NEWOBJ, func(a *netlink.AttributeEncoder) error {
			a.String(unix.NFTA_OBJ_TABLE, b.table)
			a.String(unix.NFTA_OBJ_NAME, r.name)
			a.Uint32(unix.NFTA_OBJ_TYPE, r.kind)
			a.Nested(unix.NFTA_OBJ_DATA, r.data)
			return nil
		})
		for _, hook := range []nf.Hook{nf.Prerouting, nf.Output} {
			b.add(unix.NFT_MSG_NEWRULE, func(a *netlink.AttributeEncoder) error {
				rule, err := r.exprs()
				a.String(unix.NFTA_RULE_TABLE, b.table)
				a.String(unix.NFTA_RULE_CHAIN, hook.String())
				a.Bytes(netlink.Nested|unix.NFTA_RULE_EXPRESSIONS, rule)
				return err
			})
		}
	}
	return b.send(e)
}

// exprs returns the rule's expressions as the kernel takes them.
func (r ctRule) exprs() ([]byte, error) {
	list := matchExprs(nf.Probe{Match: r.match, Family: r.family})
	if r.zone != nil {
		list = append(list, &expr.Ct{Key: expr.CtKeyZONE, Register: 1}, equal(nativeUint16(*r.zone)))
	}
	list = append(list, &expr.Counter{}, &expr.Objref{Type: int(r.kind), Name: r.name})
	a := netlink.NewAttributeEncoder()
	for _, x := range list {
		b, err := expr.Marshal(unix.NFPROTO_INET, x)
		if err != nil {
			return nil, fmt.Errorf("rule: %w", err)
		}
		a.Bytes(netlink.Nested|unix.NFTA_LIST_ELEM, b)
	}
	return a.Encode()
}

// nftBatch is a transaction of nftables that makes a table of family inet and what is in it.
type nftBatch struct {
	table    string
	messages []netlink.Message
	err      error
}

var nftNames = map[uint16]string{
	unix.NFT_MSG_NEWTABLE: "table", unix.NFT_MSG_NEWOBJ: "object", unix.NFT_MSG_NEWCHAIN: "chain", unix.NFT_MSG_NEWRULE: "rule",
}

func (b *nftBatch) add(typ uint16, attrs func(*netlink.AttributeEncoder) error) {
	a := netlink.NewAttributeEncoder()
	a.ByteOrder = networkOrder
	err := attrs(a)
	body, eerr := a.Encode()
	if err == nil {
		err = eerr
	}
	if err != nil && b.err == nil {
		b.err = fmt.Errorf("encode the %s: %w", nftNames[typ], err)
	}
	flags := netlink.Create | netlink.Acknowledge
	if typ == unix.NFT_MSG_NEWTABLE {
		flags |= netlink.Excl // somebody else's is none of ours
	}
	if typ == unix.NFT_MSG_NEWRULE {
		flags |= netlink.Append
	}
	b.messages = append(b.messages, nftMessage(unix.NFNL_SUBSYS_NFTABLES<<8|typ, flags, unix.NFPROTO_INET, 0, body...))
}

// addChain adds a base chain that is named by its hook.
func (b *nftBatch) addChain(hook nf.Hook, priority int32) {
	b.add(unix.NFT_MSG_NEWCHAIN, func(a *netlink.AttributeEncoder) error {
		a.String(unix.NFTA_CHAIN_TABLE, b.table)
		a.String(unix.NFTA_CHAIN_NAME, hook.String())
		a.String(unix.NFTA_CHAIN_TYPE, "filter")
		a.Nested(unix.NFTA_CHAIN_HOOK, func(a *netlink.AttributeEncoder) error {
			a.Uint32(unix.NFTA_HOOK_HOOKNUM, uint32(hook))
			a.Int32(unix.NFTA_HOOK_PRIORITY, priority)
			return nil
		})
		return nil
	})
}

// send has the kernel do all of it, or nothing.
func (b *nftBatch) send(e *Env) error {
	if b.err != nil {
		return b.err
	}
	var conn *netlink.Conn
	err := e.Do(func() (err error) {
		conn, err = netlink.Dial(unix.NETLINK_NETFILTER, nil)
		return err
	})
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	defer conn.Close()
	all := append([]netlink.Message{nftMessage(unix.NFNL_MSG_BATCH_BEGIN, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)}, b.messages...)
	all = append(all, nftMessage(unix.NFNL_MSG_BATCH_END, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES))
	if _, err := conn.SendMessages(all); err != nil {
		return fmt.Errorf("table %s: %w", strconv.Quote(b.table), err)
	}
	for _, m := range b.messages { // they are answered in their order
		if _, err := conn.Receive(); err != nil {
			return fmt.Errorf("make the %s of table %s: %w", nftNames[uint16(m.Header.Type)&0xff], strconv.Quote(b.table), err)
		}
	}
	return nil
}

// nftMessage is a message to nftables, or one that begins or ends a transaction.
func nftMessage(typ uint16, flags netlink.HeaderFlags, family, resource byte, body ...byte) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(typ), Flags: netlink.Request | flags},
		Data:   append([]byte{family, unix.NFNETLINK_V0, 0, resource}, body...),
	}
}
