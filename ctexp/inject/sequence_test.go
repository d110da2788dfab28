package inject_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/inject"
)

func ExampleSYNs() {
	for p := range inject.SYNs(3, web) {
		fmt.Println(p)
	}
	// Output:
	// IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0
	// IP 198.18.0.2.10001 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0
	// IP 198.18.0.2.10002 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0
}

// Each makes sequences of whatever has a flow.
func ExampleFlow_Each() {
	greet := func(f inject.Flow) inject.Packet { return f.UDP(fmt.Appendf(nil, "hello from %v", f.Src)) }
	for p := range web.Each(2, greet) {
		fmt.Printf("%s\n", []byte(p[28:]))
	}
	// Output:
	// hello from 198.18.0.2:10000
	// hello from 198.18.0.2:10001
}

func TestSequencesYieldFreshPacketsEachTime(t *testing.T) {
	t.Parallel()
	syn := inject.SYN(web)
	seq := inject.Concat(
		inject.SYNs(2, web), inject.ACKs(1, web), inject.UDPs(1, web6), inject.Packets(syn, nil), inject.Repeat(2, syn),
		inject.SYNs(0, inject.Flow{}), inject.Concat(),
	)
	want := []inject.Packet{
		inject.SYN(web), inject.SYN(web.Nth(1)), inject.ACK(web), web6.UDP(nil), inject.SYN(web), nil,
		inject.SYN(web), inject.SYN(web),
	}
	for _, p := range slices.Collect(seq) {
		clear(p) // what a receiver does with its packets is its own affair
	}

	got := slices.Collect(seq)

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("packets of the second pass (-want +got):\n%s", diff)
	}
}

func TestSequencesStopWhenAsked(t *testing.T) {
	t.Parallel()
	syn := inject.SYN(web)
	got := 0
	for _, seq := range []func(func(inject.Packet) bool){
		inject.SYNs(5, web), inject.Packets(syn, syn), inject.Repeat(2, syn), inject.Concat(inject.SYNs(2, web), inject.SYNs(2, web)),
	} {
		for range seq {
			got++
			break
		}
	}
	if got != 4 {
		t.Errorf("%d packets from 4 sequences left at the first", got)
	}
}

// The last port is in reach.
func TestSYNsMayUseEveryPort(t *testing.T) {
	t.Parallel()
	var last inject.Packet
	for p := range inject.SYNs(36, web.Nth(55500)) {
		last = p
	}
	if got := last.Tuple().Src.Port(); got != 65535 {
		t.Errorf("the last source port is %d, want 65535", got)
	}
}
