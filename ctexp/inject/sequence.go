package inject

import (
	"fmt"
	"iter"
	"slices"
)

// Every sequence of this package can be gone through again and gives the same bytes each time, in fresh memory: who
// receives a packet may keep it and write to it.

// Each returns what build makes of each of n flows, which are f with its source port raised by one from flow to flow.
// It panics at once if n is negative, f has no packets, or there are not so many ports.
func (f Flow) Each(n int, build func(Flow) Packet) iter.Seq[Packet] {
	checkCount(n)
	if n > 0 {
		f.Nth(n - 1)
		network(f.Src.Addr(), f.Dst.Addr(), 0)
	}
	return func(yield func(Packet) bool) {
		for i := range n {
			if !yield(build(f.Nth(i))) {
				return
			}
		}
	}
}

// SYNs returns a SYN for each of n flows, from f's source port upwards.
func SYNs(n int, f Flow) iter.Seq[Packet] { return f.Each(n, SYN) }

// ACKs returns an ACK for each of n flows, from f's source port upwards.
func ACKs(n int, f Flow) iter.Seq[Packet] { return f.Each(n, ACK) }

// UDPs returns an empty datagram for each of n flows, from f's source port upwards.
func UDPs(n int, f Flow) iter.Seq[Packet] {
	return f.Each(n, func(f Flow) Packet { return f.UDP(nil) })
}

// Packets returns copies of the packets in their order.
func Packets(ps ...Packet) iter.Seq[Packet] {
	return func(yield func(Packet) bool) {
		for _, p := range ps {
			if !yield(slices.Clone(p)) {
				return
			}
		}
	}
}

// Repeat returns n copies of p.
func Repeat(n int, p Packet) iter.Seq[Packet] {
	checkCount(n)
	return func(yield func(Packet) bool) {
		for range n {
			if !yield(slices.Clone(p)) {
				return
			}
		}
	}
}

// Concat returns the packets of all the sequences, one sequence after the other.
func Concat(seqs ...iter.Seq[Packet]) iter.Seq[Packet] {
	for _, seq := range seqs {
		if seq == nil {
			panic("inject: Concat of a nil sequence")
		}
	}
	return func(yield func(Packet) bool) {
		for _, seq := range seqs {
			for p := range seq {
				if !yield(p) {
					return
				}
			}
		}
	}
}

func checkCount(n int) {
	if n < 0 {
		panic(fmt.Sprintf("inject: negative count %d", n))
	}
}
