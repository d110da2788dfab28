package nfnl_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

func TestDecodeTrace(t *testing.T) {
	t.Parallel()
	got, err := nfnl.DecodeTrace(body(
		attr(1, []byte("filter\x00")), attr(2, []byte("input\x00")), attr(3, u64(258)), attr(4, u32(3)),
		attr(5|nested, attr(1, u32(0xfffffffd)), attr(2, []byte("web\x00"))),
		attr(6, u32(9)), attr(8, u8(0x45), u8(1)), attr(9, u8(2)),
		attr(10, u32(4)), attr(12, u32(5)), attr(16, u32(1)),
		attr(20, u32(8)), attr(21, u32(2)), attr(99, u8(1)),
	), 16)
	want := nfnl.Trace{
		Family: 2, Table: "filter", Chain: "input", Handle: 258, Type: nfnl.TraceRule, Verdict: -3, To: "web", Policy: 1, ID: 9,
		Network: []byte{0x45, 1}, Transport: []byte{2}, In: 4, Out: 5, State: nf.StateEstablished, Status: nf.Confirmed,
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestDecodeTraceErrorsNameAnOffset(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body []byte
		want string
	}{
		"short":   {[]byte{2}, "netfilter message at offset 16: 1 bytes are shorter"},
		"header":  {append(body(), 4), "offset 20: 1 bytes are shorter"},
		"verdict": {body(attr(5, binary.NativeEndian.AppendUint32(nil, 3))), "offset 24: length 3, 4 bytes are there"},
		"size":    {body(attr(3, u32(1))), "type 3, value at offset 24: 4 bytes, want 8"},
	} {
		if _, err := nfnl.DecodeTrace(c.body, 16); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestVerdictName(t *testing.T) {
	t.Parallel()
	for code, want := range map[int32]string{
		-1: "continue", -2: "break", -3: "jump web", -4: "goto web", -5: "return",
		0: "drop", 1: "accept", 2: "stolen", 3: "queue", 4: "repeat", 77: "verdict(77)",
		7<<16 | 3: "queue", 1 << 16: "drop", -9: "verdict(-9)",
	} {
		if got := nfnl.VerdictName(code, "web"); got != want {
			t.Errorf("%d: got %q, want %q", code, got, want)
		}
	}
}
