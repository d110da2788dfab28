package nfnl_test

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/internal/nfnl"
)

func TestDecodeLogged(t *testing.T) {
	t.Parallel()
	b := body(
		attr(1, u8(8), u8(0), u8(0), u8(0)), // NFULA_PACKET_HDR
		attr(3, u64(7), u64(9)),
		attr(4, u32(2)), attr(5, u32(3)),
		attr(9, u8(0x45), u8(1)), attr(10, []byte("nf_ct_proto_6: invalid rst \x00")), attr(12, u32(5)), attr(99, u8(1)),
	)
	b[3] = 6 // the group
	got, err := nfnl.DecodeLogged(b, 16)
	want := nfnl.Logged{
		Prefix: "nf_ct_proto_6: invalid rst ", Payload: []byte{0x45, 1}, Time: time.Unix(7, 9999),
		In: 2, Out: 3, Group: 6, Seq: 5, HasSeq: true,
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestInvalidLogTimesAreSkipped(t *testing.T) {
	t.Parallel()
	for _, v := range [][2]uint64{{1 << 33, 0}, {1, 1_000_000}} {
		if got, err := nfnl.DecodeLogged(body(attr(3, u64(v[0]), u64(v[1]))), 16); !got.Time.IsZero() || err != nil {
			t.Errorf("%v: got %v, %v", v, got.Time, err)
		}
	}
}

func TestDecodeLoggedErrorsNameAnOffset(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body []byte
		want string
	}{
		"short":  {[]byte{2, 0}, "offset 16: 2 bytes are shorter"},
		"header": {append(body(), 4, 0), "offset 20: 2 bytes are shorter"},
		"length": {append(body(), binary.NativeEndian.AppendUint32(nil, 1)...), "offset 20: length 1, 4 bytes are there"},
		"time":   {body(attr(3, u64(1))), "type 3, value at offset 24: 8 bytes, want 16"},
		"size":   {body(attr(12, u16(1))), "type 12, value at offset 24: 2 bytes, want 4"},
	} {
		if _, err := nfnl.DecodeLogged(c.body, 16); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}
