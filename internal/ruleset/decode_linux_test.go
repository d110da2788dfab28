package ruleset

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// attr returns a netlink attribute.
func attr(typ uint16, value ...byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, typ), value...)
	return append(b, make([]byte, (4-len(b)%4)%4)...)
}

// payload returns a message of family inet without its netlink header.
func payload(attrs ...[]byte) []byte {
	b := []byte{unix.NFPROTO_INET, unix.NFNETLINK_V0, 0, 0}
	for _, a := range attrs {
		b = append(b, a...)
	}
	return b
}

const nested = 1 << 15

func counterPayload(kind byte) []byte {
	return payload(
		attr(unix.NFTA_OBJ_TABLE, []byte("fw\x00")...),
		attr(unix.NFTA_OBJ_NAME, []byte("http\x00")...),
		attr(unix.NFTA_OBJ_TYPE, 0, 0, 0, kind),
		attr(unix.NFTA_OBJ_DATA|nested, append(
			attr(unix.NFTA_COUNTER_BYTES, 0, 0, 0, 0, 0, 0, 1, 0),
			attr(unix.NFTA_COUNTER_PACKETS, 0, 0, 0, 0, 0, 0, 0, 7)...)...),
	)
}

func TestDecodeCounter(t *testing.T) {
	t.Parallel()
	got, ok, err := decodeCounter(counterPayload(unix.NFT_OBJECT_COUNTER))
	want := Counter{Name: "http", Packets: 7, Bytes: 256}
	if diff := cmp.Diff(want, got); diff != "" || !ok || err != nil {
		t.Errorf("%v, %v (-want +got):\n%s", ok, err, diff)
	}
	if _, ok, err := decodeCounter(counterPayload(2)); ok || err != nil {
		t.Errorf("a quota: got %v, %v", ok, err)
	}
	if _, ok, err := decodeCounter([]byte{1, 2}); ok || err == nil {
		t.Errorf("two bytes: got %v, %v", ok, err)
	}
}

func FuzzDecodeCounter(f *testing.F) {
	f.Add(counterPayload(unix.NFT_OBJECT_COUNTER))
	f.Add(counterPayload(0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, ok, err := decodeCounter(b); ok && err != nil {
			t.Errorf("%+v and %v", c, err)
		}
	})
}

// rulePayload returns a rule with these expressions and user data.
func rulePayload(tb testing.TB, udata []byte, exprs ...expr.Any) []byte {
	tb.Helper()
	var list []byte
	for _, e := range exprs {
		b, err := expr.Marshal(unix.NFPROTO_INET, e)
		if err != nil {
			tb.Fatal(err)
		}
		list = append(list, attr(unix.NFTA_LIST_ELEM|nested, b...)...)
	}
	return payload(
		attr(unix.NFTA_RULE_TABLE, []byte("fw\x00")...), attr(unix.NFTA_RULE_CHAIN, []byte("in\x00")...),
		attr(unix.NFTA_RULE_HANDLE, 0, 0, 0, 0, 0, 0, 1, 2),
		attr(unix.NFTA_RULE_EXPRESSIONS|nested, list...), attr(unix.NFTA_RULE_USERDATA, udata...),
	)
}

func TestDecodeRule(t *testing.T) {
	t.Parallel()
	r, err := decodeRule(rulePayload(t, append([]byte{7, 1, 9, 0, 3}, "ab\x00"...), &expr.Socket{Register: 1}, &expr.Cmp{Register: 1, Data: []byte{1}}))
	var names []string
	for _, e := range r.exprs {
		names = append(names, e.name)
	}
	if r.table != "fw" || r.chain != "in" || r.handle != 258 || r.comment != "ab" || err != nil {
		t.Errorf("got %+v, %v", r, err)
	}
	if diff := cmp.Diff([]string{"socket", "cmp"}, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := decodeRule([]byte{1, 2}); err == nil {
		t.Error("two bytes are a rule")
	}
	for _, udata := range [][]byte{{0, 200, 'x'}, {0}, nil} {
		if c := comment(udata); c != "" {
			t.Errorf("user data %v has the comment %q", udata, c)
		}
	}
}

// Decoding any bytes gives an error, or a rule that can be printed.
func FuzzRule(f *testing.F) {
	f.Add(rulePayload(f, append([]byte{0, 5}, "http\x00"...), &expr.Ct{Key: 5, Direction: 1, Register: 1}, cmp1(expr.CmpOpNeq, 0, 0, 0, 0)), uint16(3), []byte{1})
	for _, exprs := range printed {
		f.Add(rulePayload(f, nil, exprs.exprs...), uint16(12), []byte{0, 80})
	}
	f.Fuzz(func(_ *testing.T, b []byte, size uint16, key []byte) {
		r, err := decodeRule(b)
		if err != nil {
			return
		}
		sets := func(string) *set {
			return &set{flags: uint32(size), keyLen: int(size), dataLen: int(size), elements: []element{{key: key}, {key: key, end: b, isEnd: size&1 != 0, data: b}}}
		}
		printRule(r, sets, func(uint32) string { return "" })
		r.drops()
		r.leads()
		_, _ = decodeChain(b)
	})
}
