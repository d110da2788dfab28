package netnsenv

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/kernel"
	"github.com/ctexp/go-ctexp/internal/ours"
	"github.com/ctexp/go-ctexp/internal/ruleset"
)

// Load implements Ruleset.
func (p TimeoutPolicy) Load(_ context.Context, e *Env) error {
	if err := p.load(e); err != nil {
		return fmt.Errorf("timeout policy: %w", lackIf(err, nf.UnsupportedError{
			Need: "CONFIG_NF_CONNTRACK_TIMEOUT", Hint: "a kernel with ct timeout objects of nftables (nft_ct)",
		}, noExpression...))
	}
	return nil
}

func (p TimeoutPolicy) load(e *Env) error {
	times, err := p.check()
	if err != nil {
		return err
	}
	match, err := e.matchOf(p.Match, p.Proto, p.Family, p.anyLink)
	if err != nil {
		return err
	}
	return e.assign(p.Table, "timeout", ctRule{
		kind: unix.NFT_OBJECT_CT_TIMEOUT, name: "timeout", match: match, family: p.Family, zone: p.Zone,
		data: func(a *netlink.AttributeEncoder) error {
			a.Uint8(expr.NFTA_CT_TIMEOUT_L4PROTO, uint8(p.Proto))
			a.Nested(expr.NFTA_CT_TIMEOUT_DATA, func(a *netlink.AttributeEncoder) error {
				for state, d := range times {
					a.Uint32(state, uint32(d/time.Second))
				}
				return nil
			})
			return nil
		},
	})
}

// matchOf is matchOf of a match whose links must exist, unless any may be missing.
func (e *Env) matchOf(m nf.Match, p nf.Proto, f nf.Family, anyLink bool) (nf.Match, error) {
	m, err := matchOf(m, p)
	if err == nil {
		at := nf.Probe{Family: f, Match: m}
		at.Match.In, at.Match.Out = "", "" // the rule is in output as well
		err = at.Check()
	}
	if err == nil && !anyLink {
		err = e.checkMatchLinks(m)
	}
	return m, err
}

// checkMatchLinks returns an error if a match is about a link that packets never meet the hooks with.
func (e *Env) checkMatchLinks(m nf.Match) error {
	for _, name := range []string{m.In, m.Out} {
		if name == "" {
			continue
		}
		if err := e.cfg.checkMet(name); err != nil {
			return err
		}
		err := e.do(func() error {
			_, err := net.InterfaceByName(name)
			return err
		})
		if err != nil {
			return fmt.Errorf("there is no link %q: %w", name, err)
		}
	}
	return nil
}

// Load implements Ruleset.
func (h Helper) Load(_ context.Context, e *Env) error {
	err := h.load(e)
	switch {
	case errors.Is(err, unix.ENOENT):
		err = h.unknown(err)
	case err == nil:
		return nil
	}
	return fmt.Errorf("helper %q: %w", h.Name, err)
}

// unknown returns the error for a helper that the kernel does not know: either no kernel has it, or its module is
// missing.
func (h Helper) unknown(cause error) error {
	modules, err := ruleset.HelperModules(h.Name, h.Proto, h.Family)
	if err != nil {
		return fmt.Errorf("%w (%w)", err, cause)
	}
	return &nf.UnsupportedError{Need: "helper " + h.Name, Hint: "sudo modprobe -a nft_ct " + modules, Err: cause}
}

func (h Helper) load(e *Env) error {
	if h.Name == "" || len(h.Name) > 15 {
		return errors.New("want a name of 1 to 15 bytes")
	}
	if h.Proto != nf.TCP && h.Proto != nf.UDP {
		return fmt.Errorf("protocol %v: want tcp or udp", h.Proto)
	}
	match, err := e.matchOf(h.Match, h.Proto, h.Family, h.anyLink)
	if err != nil {
		return err
	}
	return e.assign(h.Table, "helper", ctRule{
		kind: unix.NFT_OBJECT_CT_HELPER, name: "helper", match: match, family: h.Family, zone: h.Zone,
		data: func(a *netlink.AttributeEncoder) error {
			a.String(unix.NFTA_CT_HELPER_NAME, h.Name)
			a.Uint16(unix.NFTA_CT_HELPER_L3PROTO, l3proto(h.Family))
			a.Uint8(unix.NFTA_CT_HELPER_L4PROTO, uint8(h.Proto))
			return nil
		},
	})
}

// Load implements Ruleset.
func (x Expect) Load(_ context.Context, e *Env) error {
	if err := x.check(); err != nil {
		return fmt.Errorf("expect: %w", err)
	}
	match, err := e.matchOf(x.Match, x.Match.Proto, x.Family, x.anyLink)
	if err != nil {
		return fmt.Errorf("expect: %w", err)
	}
	timeout := uint32(x.Timeout / time.Second)
	switch millis, err := e.expectsMillis(); {
	case err != nil && err != errNoExpectation: // else the rule that needs such an object says what is missing
		return fmt.Errorf("expect: %w", err)
	case millis:
		timeout *= 1000
	}
	families := []nf.Family{x.Family}
	if x.Family == 0 { // unlike a helper's, its object is of one family
		families = nf.Families()
	}
	var rules []ctRule
	for _, f := range families {
		rules = append(rules, ctRule{
			kind: unix.NFT_OBJECT_CT_EXPECT, name: fmt.Sprintf("expect_%v", f), match: match, family: f, zone: x.Zone,
			data: func(a *netlink.AttributeEncoder) error {
				a.Uint16(expr.NFTA_CT_EXPECT_L3PROTO, uint16(f))
				a.Uint8(expr.NFTA_CT_EXPECT_L4PROTO, uint8(x.Proto))
				a.Uint16(expr.NFTA_CT_EXPECT_DPORT, x.Port)
				a.Bytes(expr.NFTA_CT_EXPECT_TIMEOUT, binary.NativeEndian.AppendUint32(nil, timeout))
				a.Uint8(expr.NFTA_CT_EXPECT_SIZE, max(1, x.Max))
				return nil
			},
		})
	}
	if err := e.assign(x.Table, "expect", rules...); err != nil {
		return fmt.Errorf("expect: %w", err)
	}
	return nil
}

// errNoExpectation says that an expectation object cannot be made.
var errNoExpectation = errors.New("the kernel makes no expectation object")

// expectMillis is whether the timeout of an expectation object is in milliseconds.
var expectMillis trait

// expectsMillis reports whether the kernel takes the timeout of an expectation object for milliseconds, as nft sends them. Up to
// 6.18 it took them for seconds (net/netfilter/nft_ct.c, nft_ct_expect_obj_eval); 7.3 does not any more, and shows it by what
// it makes of one millisecond: a tick. Where a tick is a millisecond, the release decides.
func (e *Env) expectsMillis() (bool, error) { return expectMillis.ask(e.tryExpectation) }

func (e *Env) tryExpectation() (bool, error) {
	c, err := e.openNFTables()
	if err != nil {
		return false, err
	}
	defer c.CloseLasting()
	one := binary.BigEndian.Uint32(binary.NativeEndian.AppendUint32(nil, 1)) // google/nftables v0.3.0 sends it in network order
	t := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: ours.Table + "-expects"})
	o := c.AddObj(&nftables.NamedObj{Table: t, Name: "e", Type: nftables.ObjTypeCtExpect, Obj: &expr.CtExpect{
		L3Proto: unix.NFPROTO_IPV4, L4Proto: unix.IPPROTO_UDP, DPort: 1, Timeout: one, Size: 1,
	}})
	if c.Flush() != nil {
		return false, errNoExpectation
	}
	got, err := c.GetObject(o)
	c.DelTable(t)
	if err := errors.Join(err, c.Flush()); err != nil {
		return false, fmt.Errorf("ask for the unit of timeouts: %w", err)
	}
	var tick unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &tick); err != nil {
		return false, err
	}
	object, ok := got.(*nftables.NamedObj)
	if !ok {
		return false, fmt.Errorf("ask for the unit of timeouts: the object is a %T", got)
	}
	was, ok := object.Obj.(*expr.CtExpect)
	if !ok {
		return false, fmt.Errorf("ask for the unit of timeouts: the object has a %T", object.Obj)
	}
	if was.Timeout == one && tick.Nano() <= int64(time.Millisecond) {
		return kernel.ExpectMillis.Here(), nil
	}
	return was.Timeout != one, nil
}

func l3proto(f nf.Family) uint16 {
	if f == 0 {
		return unix.NFPROTO_INET
	}
	return uint16(f)
}

// ctRule is an nftables object and a match for the flows that it is assigned to. google/nftables cannot create these:
// its timeout object writes to package variables, and it does not send a table, an object and rules in one transaction.
type ctRule struct {
	kind   uint32 // NFT_OBJECT_CT_…
	name   string
	match  nf.Match
	family nf.Family
	zone   *uint16
	data   func(*netlink.AttributeEncoder) error // encodes the object
}

// assign creates a table with objects and the rules that assign them. The rules are directly behind conntrack, where
// the entry exists but is not confirmed. If table is empty, its name is made from kind.
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

// exprs returns the rule's expressions, encoded for the kernel.
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

// nftBatch is an nftables transaction that creates a table of family inet and its contents.
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
		flags |= netlink.Excl // do not add to an existing table
	}
	if typ == unix.NFT_MSG_NEWRULE {
		flags |= netlink.Append
	}
	b.messages = append(b.messages, nftMessage(unix.NFNL_SUBSYS_NFTABLES<<8|typ, flags, unix.NFPROTO_INET, 0, body...))
}

// addChain adds a base chain named after its hook.
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

// send sends the transaction. The kernel applies all of it or nothing.
func (b *nftBatch) send(e *Env) error {
	if b.err != nil {
		return b.err
	}
	var conn *netlink.Conn
	err := e.do(func() (err error) {
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
	for _, m := range b.messages { // the acknowledgements are in the same order
		if _, err := conn.Receive(); err != nil {
			return fmt.Errorf("create the %s of table %s: %w", nftNames[uint16(m.Header.Type)&0xff], strconv.Quote(b.table), err)
		}
	}
	return nil
}

// nftMessage returns a message to nftables, or one that begins or ends a transaction.
func nftMessage(typ uint16, flags netlink.HeaderFlags, family, resource byte, body ...byte) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(typ), Flags: netlink.Request | flags},
		Data:   append([]byte{family, unix.NFNETLINK_V0, 0, resource}, body...),
	}
}
