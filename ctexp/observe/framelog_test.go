package observe

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func TestFramelogKeepsCopiesUpToItsLimit(t *testing.T) {
	t.Parallel()
	l := framelog{limit: 2}
	pkt, ethernet := []byte("one"), []byte("ethernet header")
	one := packet.Record{Time: time.Unix(7, 8), Link: "a", Dir: packet.In, EtherType: packet.EtherTypeARP, Packet: pkt, Ethernet: ethernet}
	l.add(one)
	copy(pkt, "two")
	copy(ethernet, "changed")
	l.add(packet.Record{Link: "b", Packet: pkt, Length: 4})
	early, _ := l.snapshot()
	l.add(packet.Record{Link: "c", Packet: pkt})
	l.dropped(4)

	got, lost := l.snapshot()
	one.Number, one.Packet, one.Ethernet = 1, []byte("one"), []byte("ethernet header")
	want := []packet.Record{one, {Number: 2, Link: "b", Packet: []byte("two"), Length: 4}}
	if diff := cmp.Diff(want, got.list()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, early.list()); diff != "" {
		t.Errorf("an earlier snapshot changed (-want +got):\n%s", diff)
	}
	if first := got.first(1).list(); len(first) != 1 || !got.record(1).Time.IsZero() {
		t.Errorf("the first frame is %v, the time of the second %v", first, got.record(1).Time)
	}
	const why = "4 found the kernel's buffer full, 1 exceeded the limit of the Config, 1 are truncated"
	if lost.String() != why {
		t.Errorf("lost\n got %v\nwant %s", lost, why)
	}
}

func TestFramelogStoresPacketsOfAnySize(t *testing.T) {
	t.Parallel()
	l := framelog{limit: 100}
	var want []packet.Record
	for i, n := range []int{0, 1, framelogPiece - 1, 2, framelogPiece + 1, 3} {
		f := packet.Record{Link: fmt.Sprint(i), Packet: make([]byte, n)}
		for j := range f.Packet {
			f.Packet[j] = byte(i)
		}
		l.add(f)
		want = append(want, f)
	}
	all, _ := l.snapshot()
	got := all.list()
	if len(got) != len(want) {
		t.Fatalf("got %d frames, want %d", len(got), len(want))
	}
	for i := range got { // no diff: they are large
		if !bytes.Equal(got[i].Packet, want[i].Packet) || got[i].Link != want[i].Link {
			t.Errorf("packet %d of %d bytes is another one", i, len(want[i].Packet))
		}
	}
}

// Of frames beyond the first, as many are kept as there is room for: those that follow each other from the beginning.
func TestFramelogKeepsFramesThatFit(t *testing.T) {
	t.Parallel()
	l := framelog{limit: alwaysKept + 10, room: 1}
	l.add(packet.Record{Packet: make([]byte, 100)})
	for range alwaysKept - 1 {
		l.add(packet.Record{})
	}
	l.add(packet.Record{Packet: []byte{1}})
	l.add(packet.Record{}) // would fit
	if got, lost := l.snapshot(); got.n != alwaysKept || lost.beyond != 2 {
		t.Errorf("%d frames are kept, %v", got.n, lost)
	}
}

// A snapshot is read while frames are added.
func TestFramelogIsReadWhileItGrows(t *testing.T) {
	t.Parallel()
	l := framelog{limit: 10 * framelogBlock}
	l.add(packet.Record{Link: "0", Packet: []byte{0}})
	early, _ := l.snapshot()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 1; i < 5*framelogBlock; i++ {
			l.add(packet.Record{Link: fmt.Sprint(i % 7), Packet: []byte{byte(i)}})
		}
	}()
	for range 1000 {
		if f := early.record(0); f.Link != "0" || f.Packet[0] != 0 {
			t.Fatalf("the first frame is %+v", f)
		}
	}
	<-done
	all, _ := l.snapshot()
	for i, f := range all.list() {
		if f.Number != i+1 || f.Link != fmt.Sprint(i%7) || f.Packet[0] != byte(i) {
			t.Fatalf("frame %d is %+v", i, f)
		}
	}
}

func BenchmarkFramelog(b *testing.B) {
	l := framelog{limit: 1 << 30}
	f := packet.Record{Time: time.Now(), Link: "tun0", Dir: packet.In, EtherType: packet.EtherTypeIPv4, Packet: make([]byte, 40)}
	b.ReportAllocs()
	for b.Loop() {
		l.add(f)
	}
}
