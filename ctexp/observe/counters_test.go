package observe

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/internal/nfnl"
)

func counterPayload(kind byte) []byte {
	return message(0,
		attr(nftaObjTable, []byte("fw\x00")...),
		attr(nftaObjName, []byte("http\x00")...),
		attr(nftaObjType, 0, 0, 0, kind),
		attr(nftaObjData|nested, append(
			attr(nftaCounterBytes, 0, 0, 0, 0, 0, 0, 1, 0),
			attr(nftaCounterPackets, 0, 0, 0, 0, 0, 0, 0, 7)...)...),
	)[nfnl.HeaderSize:]
}

func TestDecodeCounter(t *testing.T) {
	t.Parallel()
	got, ok, err := decodeCounter(counterPayload(nftObjectCounter))
	want := counter{name: "http", packets: 7, bytes: 256}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(counter{})); diff != "" || !ok || err != nil {
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
	f.Add(counterPayload(nftObjectCounter))
	f.Add(counterPayload(0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, ok, err := decodeCounter(b); ok && err != nil {
			t.Errorf("%+v and %v", c, err)
		}
	})
}
