//go:build linux

package queues

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func attr(typ uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, typ), value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func TestQdiscsAreDecoded(t *testing.T) {
	t.Parallel()
	queue := binary.NativeEndian.AppendUint32(nil, 4)     // qlen
	queue = binary.NativeEndian.AppendUint32(queue, 4000) // backlog, in bytes
	queue = binary.NativeEndian.AppendUint32(queue, 7)    // drops
	queue = append(queue, 0, 0, 0, 0, 0, 0, 0, 0)         // requeues, overlimits
	message := append(attr(tcaKind, []byte("tbf\x00")), attr(99, []byte{1})...)
	message = append(message, attr(tcaStats2, append(attr(1, make([]byte, 16)), attr(tcaStatsQueue, queue)...))...)
	got, err := decodeQdisc(message)
	if diff := cmp.Diff(Qdisc{Kind: "tbf", Held: 4, Dropped: 7}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := decodeQdisc(message[:len(message)-3]); err == nil {
		t.Error("a message that is cut off has no error")
	}
}

func TestNFQueuesAreDecoded(t *testing.T) {
	t.Parallel()
	const list = "    5 1234567890     3 2 65531     1     2        9  1\n65535  42     0 2 65531     0     0        0  1\n"
	got, err := ReadNFQueues(strings.NewReader(list))
	want := []NFQueue{{Number: 5, Waiting: 3, Dropped: 3, Came: 9}, {Number: 65535}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, wrong := range []string{"5 1 2\n", "5 x 3 2 65531 1 2 9 1\n"} {
		if got, err := ReadNFQueues(strings.NewReader(wrong)); err == nil {
			t.Errorf("%q: %v", wrong, got)
		}
	}
}
