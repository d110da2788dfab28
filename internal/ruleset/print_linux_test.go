package ruleset

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"
)

func host32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// meta returns a comparison with a meta key.
func meta(k expr.MetaKey, op expr.CmpOp, data ...byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: k, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: data}}
}

func load(base expr.PayloadBase, offset, length uint32) expr.Any {
	return &expr.Payload{DestRegister: 1, Base: base, Offset: offset, Len: length}
}

func cmp1(op expr.CmpOp, data ...byte) expr.Any {
	return &expr.Cmp{Op: op, Register: 1, Data: data}
}

func concat(parts ...[]expr.Any) []expr.Any {
	var all []expr.Any
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// printed has rules and their texts.
var printed = func() []struct {
	want  string
	exprs []expr.Any
} {
	tcp := meta(expr.MetaKeyL4PROTO, expr.CmpOpEq, unix.IPPROTO_TCP)
	ip := meta(expr.MetaKeyNFPROTO, expr.CmpOpEq, unix.NFPROTO_IPV4)
	addr := netip.MustParseAddr("10.0.0.1")
	dport := load(expr.PayloadBaseTransportHeader, 2, 2)
	drop := &expr.Verdict{Kind: expr.VerdictDrop}
	return []struct {
		want  string
		exprs []expr.Any
	}{
		{"", nil},
		{"counter", []expr.Any{&expr.Counter{}}},
		{"tcp dport 80 counter drop", concat(tcp, []expr.Any{dport, cmp1(expr.CmpOpEq, 0, 80), &expr.Counter{}, drop})},
		{"tcp dport != 80 accept", concat(tcp, []expr.Any{dport, cmp1(expr.CmpOpNeq, 0, 80), &expr.Verdict{Kind: expr.VerdictAccept}})},
		{"meta l4proto tcp jump http", concat(tcp, []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: "http"}})},
		{"ip saddr 10.0.0.1 tcp sport 1024-2047 return", concat(ip,
			[]expr.Any{load(expr.PayloadBaseNetworkHeader, 12, 4), cmp1(expr.CmpOpEq, addr.AsSlice()...)}, tcp,
			[]expr.Any{
				load(expr.PayloadBaseTransportHeader, 0, 2),
				&expr.Range{Op: expr.CmpOpEq, Register: 1, FromData: []byte{4, 0}, ToData: []byte{7, 255}},
				&expr.Verdict{Kind: expr.VerdictReturn},
			})},
		{"ip daddr 10.0.0.0/8", concat(ip, []expr.Any{load(expr.PayloadBaseNetworkHeader, 16, 1), cmp1(expr.CmpOpEq, 10)})},
		{"ip daddr != 10.0.0.0/9", concat(ip, []expr.Any{
			load(expr.PayloadBaseNetworkHeader, 16, 4),
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: []byte{255, 128, 0, 0}, Xor: make([]byte, 4)},
			cmp1(expr.CmpOpNeq, 10, 0, 0, 0),
		})},
		{"ip6 saddr 2001:db8::1", concat(meta(expr.MetaKeyNFPROTO, expr.CmpOpEq, unix.NFPROTO_IPV6), []expr.Any{
			load(expr.PayloadBaseNetworkHeader, 8, 16), cmp1(expr.CmpOpEq, netip.MustParseAddr("2001:db8::1").AsSlice()...),
		})},
		{"tcp flags syn / fin,syn,rst,ack", concat(tcp, []expr.Any{
			load(expr.PayloadBaseTransportHeader, 13, 1),
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{0x17}, Xor: []byte{0}}, cmp1(expr.CmpOpEq, 2),
		})},
		{"icmp type echo-request", concat(meta(expr.MetaKeyL4PROTO, expr.CmpOpEq, unix.IPPROTO_ICMP),
			[]expr.Any{load(expr.PayloadBaseTransportHeader, 0, 1), cmp1(expr.CmpOpEq, 8)})},
		{"ct state established,related accept", []expr.Any{
			&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: host32(6), Xor: host32(0)},
			cmp1(expr.CmpOpNeq, 0, 0, 0, 0), &expr.Verdict{Kind: expr.VerdictAccept},
		}},
		{"ct status == assured", []expr.Any{&expr.Ct{Key: expr.CtKeySTATUS, Register: 1}, cmp1(expr.CmpOpEq, host32(4)...)}},
		{"ct mark 0x0000002a", []expr.Any{&expr.Ct{Key: expr.CtKeyMARK, Register: 1}, cmp1(expr.CmpOpEq, host32(42)...)}},
		{"ct mark set 0x0000002a", []expr.Any{&expr.Immediate{Register: 1, Data: host32(42)}, &expr.Ct{Key: expr.CtKeyMARK, SourceRegister: true, Register: 1}}},
		{"meta mark set 0x00000001", []expr.Any{&expr.Immediate{Register: 1, Data: host32(1)}, &expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 1}}},
		{`iifname "tun0" drop`, concat(meta(expr.MetaKeyIIFNAME, expr.CmpOpEq, []byte("tun0\x00\x00")...), []expr.Any{drop})},
		{"tcp dport @web", concat(tcp, []expr.Any{dport, &expr.Lookup{SourceRegister: 1, SetName: "web"}})},
		{"tcp dport != @web", concat(tcp, []expr.Any{dport, &expr.Lookup{SourceRegister: 1, SetName: "web", Invert: true}})},
		{"th dport vmap @fate", []expr.Any{dport, &expr.Lookup{SourceRegister: 1, SetName: "fate", IsDestRegSet: true}}},
		{`counter name "http"`, []expr.Any{&expr.Objref{Type: 1, Name: "http"}}},
		{`limit rate over 5/second log prefix "x " group 1`, []expr.Any{
			&expr.Limit{Rate: 5, Over: true, Unit: expr.LimitTimeSecond},
			&expr.Log{Key: 1<<unix.NFTA_LOG_GROUP | 1<<unix.NFTA_LOG_PREFIX, Group: 1, Data: []byte("x \x00")},
		}},
		{"reject with tcp reset", []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}}},
		{"dnat ip to 10.0.0.1:8080", []expr.Any{
			&expr.Immediate{Register: 1, Data: addr.AsSlice()}, &expr.Immediate{Register: 2, Data: []byte{0x1f, 0x90}},
			&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegProtoMin: 2},
		}},
		{"masquerade", []expr.Any{&expr.Masq{}}},
		{"redirect to :8080", []expr.Any{&expr.Immediate{Register: 1, Data: []byte{0x1f, 0x90}}, &expr.Redir{RegisterProtoMin: 1}}},
		{"notrack", []expr.Any{&expr.Notrack{}}},
		{"fib daddr type local", []expr.Any{&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true}, cmp1(expr.CmpOpEq, host32(2)...)}},
		{`xt match "tcp" xt target "MARK"`, []expr.Any{&expr.Match{Name: "tcp", Info: &xt.Unknown{}}, &expr.Target{Name: "MARK", Info: &xt.Unknown{}}}},
		{"@ll,48,48 0x102", []expr.Any{load(expr.PayloadBaseLLHeader, 6, 6), cmp1(expr.CmpOpEq, 1, 2)}},
		{"[secmark]", []expr.Any{&expr.SecMark{}}},
		{`counter name "http"`, []expr.Any{&expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: "http"}}},
		{"[objref]", []expr.Any{&expr.Objref{Type: 99, Name: "future"}}},
	}
}()

func TestPrintRule(t *testing.T) {
	t.Parallel()
	for _, c := range printed {
		r, err := decodeRule(rulePayload(t, nil, c.exprs...))
		if err != nil {
			t.Fatal(err)
		}
		if got := printRule(r, func(string) *set { return nil }, nil); got != c.want {
			t.Errorf("\n got %s\nwant %s", got, c.want)
		}
	}
}

// Unknown expressions are printed by name, and clear the registers.
func TestUnknownExpressionsAreNamed(t *testing.T) {
	t.Parallel()
	r, err := decodeRule(rulePayload(t, nil, &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, cmp1(expr.CmpOpEq, unix.IPPROTO_TCP),
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1}, cmp1(expr.CmpOpEq, 1), &expr.Verdict{Kind: expr.VerdictAccept}))
	if err != nil {
		t.Fatal(err)
	}
	r.exprs[2].name = "future"
	if got, want := printRule(r, nil, nil), "meta l4proto tcp [future] 0x1 accept"; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

// A comment follows the rule's text and does not replace it.
func TestCommentsFollowTheRule(t *testing.T) {
	t.Parallel()
	r, err := decodeRule(rulePayload(t, append([]byte{0, 6}, "no, x\x00"...), &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop}))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := printRule(r, nil, nil), `counter drop comment "no, x"`; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}
