package packet

import (
	"encoding/binary"
	"fmt"
	"iter"
	"slices"

	"github.com/ctexp/go-ctexp/internal/header"
)

// Every sequence of this package can be iterated again, and yields the same bytes each time in new memory: the receiver of a
// packet may keep and modify it.

// Each returns build(f.Nth(i)) for each i from 0 to n-1, which are n flows with consecutive source ports. It panics at once
// if n is negative, the addresses of f do not fit together, or there are not enough ports.
func (f Flow) Each(n int, build func(Flow) Packet) iter.Seq[Packet] {
	f.checkNth(n)
	return func(yield func(Packet) bool) {
		for i := range n {
			if !yield(build(f.Nth(i))) {
				return
			}
		}
	}
}

// checkNth panics if there are no packets of n flows from f on.
func (f Flow) checkNth(n int) {
	checkCount(n)
	if n > 0 {
		f.Nth(n - 1)
		network(f.Src.Addr(), f.Dst.Addr(), 0)
	}
}

// patched is Each for packets of TCP or UDP that differ only in the source port and the checksum. It builds the first one and
// patches copies of it, at a thirtieth of the cost.
func (f Flow) patched(n int, build func(Flow) Packet) iter.Seq[Packet] {
	f.checkNth(n)
	return func(yield func(Packet) bool) {
		if n == 0 {
			return
		}
		first := build(f)
		rw, _ := header.NewRewriter(first)
		var m memory
		for i := range n {
			p := m.clone(first, n-i)
			port := p[rw.Transport:]
			from := binary.BigEndian.Uint16(port)
			binary.BigEndian.PutUint16(port, from+uint16(i))
			rw.Adjust(p, header.Delta(from, from+uint16(i)))
			if !yield(p) {
				return
			}
		}
	}
}

// SYNs returns a SYN for each of n flows, from f's source port upwards.
func SYNs(n int, f Flow) iter.Seq[Packet] { return f.patched(n, SYN) }

// ACKs returns an ACK for each of n flows, from f's source port upwards.
func ACKs(n int, f Flow) iter.Seq[Packet] { return f.patched(n, ACK) }

// UDPs returns an empty datagram for each of n flows, from f's source port upwards.
func UDPs(n int, f Flow) iter.Seq[Packet] {
	return f.patched(n, func(f Flow) Packet { return f.UDP(nil) })
}

// Packets returns copies of the packets in their order.
func Packets(ps ...Packet) iter.Seq[Packet] {
	return func(yield func(Packet) bool) {
		var m memory
		for i, p := range ps {
			if !yield(m.clone(p, len(ps)-i)) {
				return
			}
		}
	}
}

// Repeat returns n copies of p.
func Repeat(n int, p Packet) iter.Seq[Packet] {
	checkCount(n)
	return func(yield func(Packet) bool) {
		var m memory
		for i := range n {
			if !yield(m.clone(p, n-i)) {
				return
			}
		}
	}
}

// Concat returns the packets of all the sequences, one sequence after the other.
func Concat(seqs ...iter.Seq[Packet]) iter.Seq[Packet] {
	for _, seq := range seqs {
		if seq == nil {
			panic("packet: Concat of a nil sequence")
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
		panic(fmt.Sprintf("packet: negative count %d", n))
	}
}

// memory is what remains of the memory for the packets of a sequence, which is allocated for several at once.
type memory struct{ rest []byte }

// maxMemory is how much is allocated at once, unless a packet needs more. Whoever keeps a packet keeps that much.
const maxMemory = 4 << 10

// clone returns a copy of p in memory of its own, where n packets like it are still to come, itself included.
func (m *memory) clone(p Packet, n int) Packet {
	size := len(p)
	if size == 0 {
		return slices.Clone(p)
	}
	if size > len(m.rest) {
		m.rest = make([]byte, size*max(1, min(n, maxMemory/size)))
	}
	q := m.rest[:size:size]
	m.rest = m.rest[size:]
	copy(q, p)
	return q
}
