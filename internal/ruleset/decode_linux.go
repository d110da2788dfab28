package ruleset

import (
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// attrs are the attributes of an nftables message, or nested attributes, by their types. An absent number reads as
// zero, which is the kernel's default.
type attrs map[uint16][]byte

func decodeAttrs(b []byte, at int) (attrs, error) {
	a := attrs{}
	err := nfnl.Attributes(b, at, func(typ uint16, _ int, v []byte) error {
		a[typ] = v
		return nil
	})
	return a, err
}

// decodeMessage decodes the payload of a message, which begins with struct nfgenmsg.
func decodeMessage(payload []byte) (family uint8, a attrs, err error) {
	body, at, err := nfnl.Body(payload, 0)
	if err != nil {
		return 0, nil, err
	}
	a, err = decodeAttrs(body, at)
	return payload[0], a, err
}

// u64 returns a number of up to eight bytes.
func (a attrs) u64(typ uint16) (n uint64) {
	for _, b := range a[typ][:min(8, len(a[typ]))] {
		n = n<<8 | uint64(b)
	}
	return n
}

func (a attrs) u32(typ uint16) uint32 { return uint32(a.u64(typ)) }

func (a attrs) text(typ uint16) string { return strings.TrimRight(string(a[typ]), "\x00") }

// nested returns the nested attributes of an attribute; none if they are truncated.
func (a attrs) nested(typ uint16) attrs {
	in, err := decodeAttrs(a[typ], 0)
	if err != nil {
		return nil
	}
	return in
}

// list returns the nested attributes of each element of a list. It stops at a truncated one.
func (a attrs) list(typ uint16) (all []attrs) {
	_ = nfnl.Attributes(a[typ], 0, func(_ uint16, at int, v []byte) error {
		in, err := decodeAttrs(v, at)
		all = append(all, in)
		return err
	})
	return all
}

// data returns the value in an attribute of type struct nft_data.
func (a attrs) data(typ uint16) []byte { return a.nested(typ)[unix.NFTA_DATA_VALUE] }

// expression is an expression of a rule, with the kernel's name, such as "cmp".
type expression struct {
	name string
	attrs
}

func expressionOf(a attrs) expression {
	return expression{a.text(unix.NFTA_EXPR_NAME), a.nested(unix.NFTA_EXPR_DATA)}
}

// rule is a decoded rule.
type rule struct {
	family       uint8 // of its table
	table, chain string
	handle       uint64
	exprs        []expression
	comment      string
	mapped       []verdict // what the verdict maps lead to that it looks up
	line         nf.Rule   // what is shown of it
}

// decodeRule decodes the payload of an NFT_MSG_NEWRULE message.
func decodeRule(payload []byte) (rule, error) {
	family, a, err := decodeMessage(payload)
	if err != nil {
		return rule{}, fmt.Errorf("nftables rule: %w", err)
	}
	r := rule{
		family: family, table: a.text(unix.NFTA_RULE_TABLE), chain: a.text(unix.NFTA_RULE_CHAIN),
		handle: a.u64(unix.NFTA_RULE_HANDLE), comment: comment(a[unix.NFTA_RULE_USERDATA]),
	}
	for _, e := range a.list(unix.NFTA_RULE_EXPRESSIONS) {
		r.exprs = append(r.exprs, expressionOf(e))
	}
	return r, nil
}

// comment returns the comment in the user data of a rule (libnftnl, include/udata.h: type, length, value).
func comment(udata []byte) string {
	const ruleComment = 0 // NFTNL_UDATA_RULE_COMMENT
	for len(udata) >= 2 {
		typ, n := udata[0], int(udata[1])
		if len(udata) < 2+n {
			return ""
		}
		if typ == ruleComment {
			return strings.TrimRight(string(udata[2:2+n]), "\x00")
		}
		udata = udata[2+n:]
	}
	return ""
}

// verdict returns the verdict in an attribute of type struct nft_data.
func (a attrs) verdict(typ uint16) (v verdict, ok bool) {
	code, ok := a.nested(typ)[unix.NFTA_DATA_VERDICT]
	if !ok {
		return verdict{}, false
	}
	in, _ := decodeAttrs(code, 0)
	return verdict{int32(in.u32(unix.NFTA_VERDICT_CODE)), in.text(unix.NFTA_VERDICT_CHAIN)}, true
}

const nfDrop = 0 // NF_DROP

// verdict is a verdict (include/uapi/linux/netfilter.h, include/uapi/linux/netfilter/nf_tables.h) and the target chain
// of a jump or goto.
type verdict struct {
	code int32
	to   string
}

// String returns the verdict as nft writes it.
func (v verdict) String() string { return nfnl.VerdictName(v.code, v.to) }

func (v verdict) drops() bool { return v.code >= 0 && v.code&0xff == nfDrop }

func (v verdict) jumps() bool { return v.code == unix.NFT_JUMP || v.code == unix.NFT_GOTO }

// chain is a decoded chain with its rules.
type chain struct {
	family      uint8
	table, name string
	base        bool // a base chain, at hook and priority
	hook        nf.Hook
	priority    int32
	nat         bool     // of type nat
	drop        bool     // the policy is drop
	devices     []string // of a base chain of family netdev
	// uncounted says that no probe of ours counts what is dropped there; see Uncounted. readChains sets it.
	uncounted bool
	rules     []rule
}

// decodeChain decodes the payload of an NFT_MSG_NEWCHAIN message.
func decodeChain(payload []byte) (chain, error) {
	family, a, err := decodeMessage(payload)
	if err != nil {
		return chain{}, fmt.Errorf("nftables chain: %w", err)
	}
	c := chain{family: family, table: a.text(unix.NFTA_CHAIN_TABLE), name: a.text(unix.NFTA_CHAIN_NAME)}
	if _, c.base = a[unix.NFTA_CHAIN_HOOK]; c.base {
		at := a.nested(unix.NFTA_CHAIN_HOOK)
		c.hook, c.priority = nf.Hook(at.u32(unix.NFTA_HOOK_HOOKNUM)), int32(at.u32(unix.NFTA_HOOK_PRIORITY))
		c.nat = a.text(unix.NFTA_CHAIN_TYPE) == "nat"
		_, hasPolicy := a[unix.NFTA_CHAIN_POLICY]
		c.drop = hasPolicy && a.u32(unix.NFTA_CHAIN_POLICY) == nfDrop
		c.devices = hookDevices(at)
	}
	return c, nil
}

// hookDevices returns the devices of a hook. The kernel tells a single one also by itself (net/netfilter/nf_tables_api.c,
// nft_dump_basechain_hook); the name of an element that is a prefix ends in "*", as nft writes it (since 6.16).
func hookDevices(hook attrs) (names []string) {
	const devicePrefix = 2 // NFTA_DEVICE_PREFIX
	_ = nfnl.Attributes(hook[nftaHookDevs], 0, func(typ uint16, _ int, v []byte) error {
		name := nfnl.CString(v)
		if typ == devicePrefix {
			name += "*"
		}
		names = append(names, name)
		return nil
	})
	if name := hook.text(unix.NFTA_HOOK_DEV); len(names) == 0 && name != "" {
		names = []string{name}
	}
	return names
}

// nftaHookDevs is NFTA_HOOK_DEVS (include/uapi/linux/netfilter/nf_tables.h).
const nftaHookDevs = 4

// Counter is a named counter of a table.
type Counter struct {
	Name           string // unique in the table
	Packets, Bytes uint64 // since the counter was created or reset
}

// decodeCounter decodes the payload of an NFT_MSG_NEWOBJ message. ok is false for an object that is not a counter. It
// makes no map of the attributes, because each Tally reads all probes.
func decodeCounter(payload []byte) (c Counter, ok bool, err error) {
	body, at, err := nfnl.Body(payload, 0)
	if err != nil {
		return c, false, fmt.Errorf("nftables object: %w", err)
	}
	err = nfnl.Attributes(body, at, func(typ uint16, at int, v []byte) error {
		switch {
		case typ == unix.NFTA_OBJ_NAME:
			c.Name = nfnl.CString(v)
		case typ == unix.NFTA_OBJ_TYPE && len(v) == 4:
			ok = binary.BigEndian.Uint32(v) == unix.NFT_OBJECT_COUNTER
		case typ == unix.NFTA_OBJ_DATA:
			return nfnl.Attributes(v, at, func(typ uint16, _ int, v []byte) error {
				switch {
				case typ == unix.NFTA_COUNTER_PACKETS && len(v) == 8:
					c.Packets = binary.BigEndian.Uint64(v)
				case typ == unix.NFTA_COUNTER_BYTES && len(v) == 8:
					c.Bytes = binary.BigEndian.Uint64(v)
				}
				return nil
			})
		}
		return nil
	})
	if err != nil || !ok {
		return Counter{}, false, err
	}
	return c, true, nil
}

// set is a set or map. Only anonymous ones have elements here.
type set struct {
	flags           uint32
	keyLen, dataLen int
	elements        []element
}

// element is an element of a set or map: a value or a range of values, and what it maps to.
type element struct {
	key, end  []byte // first and last value; end is nil for a single value
	isEnd     bool   // key is the exclusive end of the interval before it
	data      []byte
	verdict   verdict
	isVerdict bool
}

const setElemKeyEnd = 10 // NFTA_SET_ELEM_KEY_END

func decodeElement(a attrs) element {
	e := element{
		key: a.data(unix.NFTA_SET_ELEM_KEY), end: a.data(setElemKeyEnd), data: a.data(unix.NFTA_SET_ELEM_DATA),
		isEnd: a.u32(unix.NFTA_SET_ELEM_FLAGS)&unix.NFT_SET_ELEM_INTERVAL_END != 0,
	}
	e.verdict, e.isVerdict = a.verdict(unix.NFTA_SET_ELEM_DATA)
	return e
}
