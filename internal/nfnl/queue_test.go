package nfnl_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

func TestDecodeQueued(t *testing.T) {
	t.Parallel()
	b := body(
		attr(1, u32(7), u16(0x0800), u8(2)), attr(3, u32(9)), attr(5, u32(2)), attr(6, u32(3)),
		attr(10, u8(0x45), u8(1)), attr(12, u32(4)), attr(13, u32(66000)), attr(99, u8(1)),
	)
	b[3] = 5 // the queue
	got, err := nfnl.DecodeQueued(b, 16)
	want := nfnl.Queued{
		Queue: 5, ID: 7, Protocol: 0x0800, Hook: nf.Forward, Mark: 9, In: 2, Out: 3, Class: nf.ClassRelatedReply,
		Payload: []byte{0x45, 1}, Length: 66000,
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestDecodeQueuedErrorsNameAnOffset(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body []byte
		want string
	}{
		"short":  {[]byte{2, 0}, "offset 16: 2 bytes are shorter"},
		"header": {body(attr(1, u32(1))), "type 1, value at offset 24: 4 bytes, want 7"},
		"length": {body(attr(13, u16(1))), "type 13, value at offset 24: 2 bytes, want 4"},
		"class":  {body(attr(12, u16(1))), "type 12, value at offset 24: 2 bytes, want 4"},
	} {
		if _, err := nfnl.DecodeQueued(c.body, 16); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// The messages are those of include/uapi/linux/netfilter/nfnetlink_queue.h.
func TestQueueMessages(t *testing.T) {
	t.Parallel()
	message := func(typ uint16, attrs ...[]byte) []byte {
		b := bytes.Join(append([][]byte{make([]byte, nfnl.HeaderSize), {0, 0, 0, 5}}, attrs...), nil) // AF_UNSPEC, version, queue
		binary.NativeEndian.PutUint32(b, uint32(len(b)))
		binary.NativeEndian.PutUint16(b[4:], 3<<8|typ) // NFNL_SUBSYS_QUEUE
		b[6] = 1                                       // NLM_F_REQUEST
		return b
	}
	verdict := attr(2, u32(1), u32(7)) // NF_ACCEPT, and which packet
	for name, c := range map[string]struct{ got, want []byte }{
		"verdict": {nfnl.AppendVerdict(nil, 5, 7, nfnl.Verdict(1), nil, nil), message(1, verdict)},
		"changed": {
			nfnl.AppendVerdict(nil, 5, 7, nfnl.Verdict(1), new(uint32(9)), []byte{1, 2, 3, 4}),
			message(1, verdict, attr(3, u32(9)), attr(10, []byte{1, 2, 3, 4})),
		},
		"unbind": {nfnl.AppendQueueUnbind(nil, 5), message(2, attr(1, []byte{2, 0, 0, 0}))},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func FuzzDecodeQueued(f *testing.F) {
	f.Add(body(attr(1, u32(7), u16(0x0800), u8(2)), attr(10, u8(0x45))))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := nfnl.DecodeQueued(b, 16)
		if err == nil && len(q.Payload) > len(b) {
			t.Errorf("a payload of %d bytes in a message of %d", len(q.Payload), len(b))
		}
	})
}
