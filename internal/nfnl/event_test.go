package nfnl_test

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

// event returns a message with the given flags, caused by a request of the socket with this port.
func event(typ, flags uint16, port uint32, attrs ...[]byte) []byte {
	b := append(make([]byte, nfnl.HeaderSize), body(attrs...)...)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], typ)
	binary.NativeEndian.PutUint16(b[6:], flags)
	binary.NativeEndian.PutUint32(b[12:], port)
	return b
}

const (
	ctNew, ctDelete, expNew, expDelete = 1 << 8, 1<<8 | 2, 2 << 8, 2<<8 | 2

	create, excl = 0x400, 0x200
)

func TestKindOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		msg   []byte
		kind  nfnl.EventKind
		asked uint32
	}{
		{event(ctNew, create|excl, 0), nfnl.New, 0},
		{event(ctNew, 0, 77), nfnl.Update, 77},
		{event(ctDelete, 0, 5), nfnl.Destroy, 5},
		{event(expNew, create, 0), nfnl.ExpectNew, 0},
		{event(expDelete, 0, 0), nfnl.ExpectDestroy, 0},
		{event(2, 0, 0), 0, 0},
	} {
		if kind, asked, err := nfnl.KindOf(c.msg); kind != c.kind || asked != c.asked || err != nil {
			t.Errorf("got %d, %d, %v; want %d, %d", kind, asked, err, c.kind, c.asked)
		}
	}
	whole := event(ctNew, 0, 0)
	for want, msg := range map[string][]byte{
		"conntrack event of 19 bytes: shorter than its header": whole[:19],
		"conntrack event of 21 bytes: its length field is 20":  append(whole[:20:20], 0),
		"conntrack event of 20 bytes: its length field is 24":  append([]byte{24, 0, 0, 0}, whole[4:]...),
	} {
		if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
			t.Skip("needs a little-endian machine: the bytes are written so")
		}
		if _, _, err := nfnl.KindOf(msg); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestDecodeEvent(t *testing.T) {
	t.Parallel()
	tuple := tupleMessage(1, client, server, 6, 7, 80)
	e, when, unknown, err := nfnl.DecodeEvent(nfnl.EventBody(event(ctDelete, 0, 0, tuple, attr(27, u64(1_000_000_000)), attr(99))))
	if err != nil || !when.Equal(time.Unix(1, 0)) || e.Orig != tupleOf(nf.TCP, "198.18.0.2:7", "192.0.2.1:80") || unknown == nil {
		t.Errorf("got %+v at %v, %v, %v", e, when, unknown, err)
	}
	if _, _, _, err := nfnl.DecodeEvent(nfnl.EventBody(event(ctNew, 0, 0, attr(8, u8(1))))); err == nil || !strings.Contains(err.Error(), "type 8, value at offset 24: 1 bytes, want 4") {
		t.Errorf("a short mark: %v", err)
	}
}

func FuzzDecodeEvent(f *testing.F) {
	f.Add(event(ctNew, create, 0, tupleMessage(1, client, server, 6, 7, 80), tupleMessage(2, server, client, 6, 80, 7), attr(27, u64(1))))
	f.Add(event(ctDelete, 0, 5, tupleMessage(1, client, server, 6, 7, 80), attr(20|nested, attr(1, u64(1)))))
	f.Add(event(expNew, create, 0, tupleMessage(1, client, server, 6, 0, 99), tupleMessage(3, client, server, 6, 255, 255), attr(10|nested, attr(1, u32(1)))))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		kind, _, err := nfnl.KindOf(b)
		if kind == 0 || err != nil {
			return
		}
		if kind == nfnl.ExpectNew || kind == nfnl.ExpectDestroy {
			_, _, err = nfnl.DecodeWholeExpectation(nfnl.EventBody(b))
		} else {
			_, _, _, err = nfnl.DecodeEvent(nfnl.EventBody(b))
		}
		if err != nil && !strings.Contains(err.Error(), "offset") {
			t.Errorf("%x: %v", b, err)
		}
	})
}

func BenchmarkDecodeEvent(b *testing.B) {
	msg := event(ctNew, create, 0, tupleMessage(1, client, server, 6, 7, 80), tupleMessage(2, server, client, 6, 80, 7), attr(3, u32(8)), attr(7, u32(120)),
		attr(4|nested, attr(1|nested, attr(1, u8(1)))))
	b.ReportAllocs()
	for b.Loop() {
		_, _, err := nfnl.KindOf(msg)
		if err == nil {
			_, _, _, err = nfnl.DecodeEvent(nfnl.EventBody(msg))
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
