package packet_test

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Sequences yield what the builder of one packet returns, for each port.
func TestSequencesAreAsBuiltOneByOne(t *testing.T) {
	t.Parallel()
	udp := func(f packet.Flow) packet.Packet { return f.UDP(nil) }
	for _, f := range []packet.Flow{web, web6} {
		f.Src = netip.AddrPortFrom(f.Src.Addr(), 1)
		const n = 65535
		for name, c := range map[string]struct {
			seq   func(func(packet.Packet) bool)
			build func(packet.Flow) packet.Packet
		}{
			"SYNs": {packet.SYNs(n, f), packet.SYN}, "ACKs": {packet.ACKs(n, f), packet.ACK}, "UDPs": {packet.UDPs(n, f), udp},
		} {
			i := 0
			for p := range c.seq {
				if want := c.build(f.Nth(i)); !bytes.Equal(p, want) {
					t.Fatalf("%s of %v: packet %d is %x, want %x", name, f, i, []byte(p), []byte(want))
				}
				i++
			}
			if i != n {
				t.Errorf("%s: %d packets, want %d", name, i, n)
			}
		}
	}
}

// A receiver may append to a packet and modify it: no other changes.
func TestPacketsOfSequencesShareNothing(t *testing.T) {
	t.Parallel()
	large := make(packet.Packet, 3000)
	for _, seq := range []func(func(packet.Packet) bool){
		packet.SYNs(300, web), packet.Repeat(300, packet.SYN(web)), packet.Packets(packet.SYN(web), large, packet.SYN(web), large, large),
	} {
		want := slices.Collect(seq)
		for i, p := range want {
			want[i] = slices.Clone(p)
		}
		got := slices.Collect(seq)
		for i, p := range got {
			if !bytes.Equal(p, want[i]) {
				t.Fatalf("packet %d has changed", i)
			}
			clear(append(p, make([]byte, 100)...))
			clear(p)
		}
	}
}

func TestSequencesAllocateForManyPacketsAtOnce(t *testing.T) {
	// Not parallel: testing.AllocsPerRun counts what others allocate.
	const n = 10_000
	for name, seq := range map[string]func(func(packet.Packet) bool){
		"SYNs": packet.SYNs(n, web), "ACKs": packet.ACKs(n, web6), "UDPs": packet.UDPs(n, web), "Repeat": packet.Repeat(n, packet.SYN(web)),
	} {
		perPacket := testing.AllocsPerRun(1, func() {
			for range seq {
			}
		}) / n
		if perPacket > 0.05 {
			t.Errorf("%s: %.2f allocations a packet", name, perPacket)
		}
	}
}

func BenchmarkSYNs(b *testing.B) {
	b.ReportAllocs()
	const n = 10_000
	for b.Loop() {
		for range packet.SYNs(n, web) {
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/packet")
}
