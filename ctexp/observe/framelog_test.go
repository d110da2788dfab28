package observe

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFramelogKeepsCopiesUpToItsLimit(t *testing.T) {
	t.Parallel()
	l := framelog{limit: 2}
	packet := []byte("one")
	l.add(Frame{Link: "a", Packet: packet}, false)
	copy(packet, "two")
	l.add(Frame{Link: "b", Packet: packet}, true)
	early, _ := l.snapshot()
	l.add(Frame{Link: "c", Packet: packet}, false)
	l.dropped(4)

	got, lost := l.snapshot()
	want := []Frame{{Link: "a", Packet: []byte("one")}, {Link: "b", Packet: []byte("two")}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, early); diff != "" {
		t.Errorf("an earlier snapshot changed (-want +got):\n%s", diff)
	}
	const why = "4 found the kernel's buffer full, 1 came when as many were kept as the Config allows, 1 are not whole"
	if lost.String() != why {
		t.Errorf("lost\n got %v\nwant %s", lost, why)
	}
}

func TestFramelogTakesPacketsOfAnySize(t *testing.T) {
	t.Parallel()
	l := framelog{limit: 100}
	var want []Frame
	for i, n := range []int{0, 1, framelogPiece - 1, 2, framelogPiece + 1, 3} {
		f := Frame{Link: fmt.Sprint(i), Packet: make([]byte, n)}
		for j := range f.Packet {
			f.Packet[j] = byte(i)
		}
		l.add(f, false)
		want = append(want, f)
	}
	got, _ := l.snapshot()
	if len(got) != len(want) {
		t.Fatalf("got %d frames, want %d", len(got), len(want))
	}
	for i := range got { // no diff: they are large
		if !bytes.Equal(got[i].Packet, want[i].Packet) {
			t.Errorf("packet %d of %d bytes is another one", i, len(want[i].Packet))
		}
	}
}
