package observe

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

func host32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// meta is a comparison of something that goes with the packet.
func meta(k expr.MetaKey, op expr.CmpOp, data ...byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: k, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: data}}
}

func payload(base expr.PayloadBase, offset, length uint32) expr.Any {
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

func TestRuleText(t *testing.T) {
	t.Parallel()
	tcp := meta(expr.MetaKeyL4PROTO, expr.CmpOpEq, unix.IPPROTO_TCP)
	ip := meta(expr.MetaKeyNFPROTO, expr.CmpOpEq, unix.NFPROTO_IPV4)
	addr := netip.MustParseAddr("10.0.0.1")
	dport := payload(expr.PayloadBaseTransportHeader, 2, 2)
	drop := &expr.Verdict{Kind: expr.VerdictDrop}
	for _, c := range []struct {
		want  string
		exprs []expr.Any
	}{
		{"(everything)", nil},
		{"(everything)", []expr.Any{&expr.Counter{}}},
		{"tcp dport 80 drop", concat(tcp, []expr.Any{dport, cmp1(expr.CmpOpEq, 0, 80), &expr.Counter{}, drop})},
		{"tcp dport != 80 accept", concat(tcp, []expr.Any{dport, cmp1(expr.CmpOpNeq, 0, 80), &expr.Verdict{Kind: expr.VerdictAccept}})},
		{"meta l4proto tcp jump http", concat(tcp, []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: "http"}})},
		{"ip saddr 10.0.0.1 tcp sport 1024-2047 return", concat(ip,
			[]expr.Any{payload(expr.PayloadBaseNetworkHeader, 12, 4), cmp1(expr.CmpOpEq, addr.AsSlice()...)}, tcp,
			[]expr.Any{
				payload(expr.PayloadBaseTransportHeader, 0, 2),
				&expr.Range{Op: expr.CmpOpEq, Register: 1, FromData: []byte{4, 0}, ToData: []byte{7, 255}},
				&expr.Verdict{Kind: expr.VerdictReturn},
			})},
		{"ip daddr 10.0.0.0/8", []expr.Any{payload(expr.PayloadBaseNetworkHeader, 16, 1), cmp1(expr.CmpOpEq, 10)}},
		{"ip daddr != 10.0.0.0/9", []expr.Any{
			payload(expr.PayloadBaseNetworkHeader, 16, 4),
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: []byte{255, 128, 0, 0}, Xor: make([]byte, 4)},
			cmp1(expr.CmpOpNeq, 10, 0, 0, 0),
		}},
		{"ip6 saddr 2001:db8::1", concat(meta(expr.MetaKeyNFPROTO, expr.CmpOpEq, unix.NFPROTO_IPV6), []expr.Any{
			payload(expr.PayloadBaseNetworkHeader, 8, 16), cmp1(expr.CmpOpEq, netip.MustParseAddr("2001:db8::1").AsSlice()...),
		})},
		{"tcp flags & fin,syn,rst,ack syn", concat(tcp, []expr.Any{
			payload(expr.PayloadBaseTransportHeader, 13, 1),
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{0x17}, Xor: []byte{0}}, cmp1(expr.CmpOpEq, 2),
		})},
		{"icmp type 8", concat(meta(expr.MetaKeyL4PROTO, expr.CmpOpEq, unix.IPPROTO_ICMP),
			[]expr.Any{payload(expr.PayloadBaseTransportHeader, 0, 1), cmp1(expr.CmpOpEq, 8)})},
		{"ct state established,related accept", []expr.Any{
			&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: host32(6), Xor: host32(0)},
			cmp1(expr.CmpOpNeq, 0, 0, 0, 0), &expr.Verdict{Kind: expr.VerdictAccept},
		}},
		{"ct status assured", []expr.Any{&expr.Ct{Key: expr.CtKeySTATUS, Register: 1}, cmp1(expr.CmpOpEq, host32(4)...)}},
		{"ct mark 0x2a", []expr.Any{&expr.Ct{Key: expr.CtKeyMARK, Register: 1}, cmp1(expr.CmpOpEq, host32(42)...)}},
		{"ct mark set 0x2a", []expr.Any{&expr.Immediate{Register: 1, Data: host32(42)}, &expr.Ct{Key: expr.CtKeyMARK}}},
		{"meta mark set 0x1", []expr.Any{&expr.Immediate{Register: 1, Data: host32(1)}, &expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 1}}},
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
		{"dnat to 10.0.0.1:8080", []expr.Any{
			&expr.Immediate{Register: 1, Data: addr.AsSlice()}, &expr.Immediate{Register: 2, Data: []byte{0x1f, 0x90}},
			&expr.NAT{Type: expr.NATTypeDestNAT, RegAddrMin: 1, RegProtoMin: 2},
		}},
		{"masquerade", []expr.Any{&expr.Masq{}}},
		{"redirect to :8080", []expr.Any{&expr.Immediate{Register: 1, Data: []byte{0x1f, 0x90, 0, 0}}, &expr.Redir{RegisterProtoMin: 1}}},
		{"notrack", []expr.Any{&expr.Notrack{}}},
		{"fib daddr type 2", []expr.Any{&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true}, cmp1(expr.CmpOpEq, host32(2)...)}},
		{"xt match tcp xt target MARK", []expr.Any{&expr.Match{Name: "tcp"}, &expr.Target{Name: "MARK"}}},
		{"@ll,48,48 0x0102", []expr.Any{payload(expr.PayloadBaseLLHeader, 6, 6), cmp1(expr.CmpOpEq, 1, 2)}},
		{"(numgen)", []expr.Any{&expr.Numgen{}}},
	} {
		if got := ruleText(&nftables.Rule{Exprs: c.exprs}, nil); got != c.want {
			t.Errorf("\n got %s\nwant %s", got, c.want)
		}
	}
}

// What the library does not know is not passed over.
func TestRuleTextNamesUnknownExpressions(t *testing.T) {
	t.Parallel()
	exprs := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, cmp1(expr.CmpOpEq, unix.IPPROTO_TCP),
		cmp1(expr.CmpOpEq, 1), &expr.Verdict{Kind: expr.VerdictAccept},
	}
	for _, c := range []struct {
		want  string
		names []string
	}{
		{"meta l4proto tcp (socket) 0x01 accept", []string{"meta", "cmp", "socket", "byteorder", "cmp", "immediate"}},
		{"meta l4proto tcp (osf) 0x01 accept (last)", []string{"meta", "cmp", "osf", "cmp", "immediate", "last"}},
	} {
		if got := ruleText(&nftables.Rule{Exprs: exprs}, c.names); got != c.want {
			t.Errorf("\n got %s\nwant %s", got, c.want)
		}
	}
}

func TestRuleTextIsTheComment(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		udata []byte
		want  string
	}{
		{append([]byte{0, 5}, "http\x00"...), "http"},
		{append([]byte{7, 1, 9, 0, 3}, "ab\x00"...), "ab"},
		{[]byte{0, 200, 'x'}, "(everything)"},
		{[]byte{0}, "(everything)"},
	} {
		if got := ruleText(&nftables.Rule{UserData: c.udata}, nil); got != c.want {
			t.Errorf("%v: got %q, want %q", c.udata, got, c.want)
		}
	}
}

// Whatever bytes a rule compares with, it can be printed.
func FuzzRuleText(f *testing.F) {
	f.Add(uint32(16), uint32(2), uint32(2), []byte{0, 80}, []byte{0, 3})
	f.Fuzz(func(t *testing.T, key, offset, length uint32, data, mask []byte) {
		for _, load := range []expr.Any{
			&expr.Meta{Key: expr.MetaKey(key), Register: 1},
			&expr.Ct{Key: expr.CtKey(key), Register: 1},
			payload(expr.PayloadBase(key%4), offset, length),
			&expr.Immediate{Register: 1, Data: data},
		} {
			ruleText(&nftables.Rule{UserData: mask, Exprs: []expr.Any{
				load, cmp1(expr.CmpOp(key%6), data...),
				&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Mask: mask}, cmp1(expr.CmpOp(key%6), data...),
				&expr.NAT{RegAddrMin: 1, RegProtoMin: 1}, &expr.Log{Key: key, Data: data}, &expr.Verdict{Kind: expr.VerdictKind(key)},
			}}, []string{"meta", string(data), "cmp", "osf"})
		}
	})
}
