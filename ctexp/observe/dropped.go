package observe

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"sort"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/header"
)

// DropSource reports which packets the kernel dropped in the namespace, and why. *dropreason.Watcher implements it;
// it requires root in the initial user namespace and BPF.
type DropSource interface {
	// Drops yields the drops since the source was opened, in the kernel's order.
	Drops(ctx context.Context) iter.Seq2[nf.Dropped, error]
}

// DropCount is how many packets the kernel dropped for one reason in one function (see nf.Dropped).
type DropCount struct {
	Family   nf.Family // of the packets; zero if it is not known
	Reason   string    // "IP_RPFILTER"
	Function string    // kernel function that dropped them: "tcp_v4_rcv"; may be empty
	Packets  uint64    // how many were dropped
}

// String prints the count as "2 × NO_SOCKET in tcp_v4_rcv", without a number if it is one.
func (t DropCount) String() string {
	s := t.Reason
	if t.Packets != 1 {
		s = fmt.Sprintf("%d × %s", t.Packets, s)
	}
	if t.Function != "" {
		s += " in " + t.Function
	}
	return s
}

// key returns t without its count.
func (t DropCount) key() DropCount {
	t.Packets = 0
	return t
}

// sub subtracts the count of b, and reports whether anything is left.
func (t *DropCount) sub(b DropCount) bool {
	t.Packets = saturatingSub(t.Packets, b.Packets)
	return t.Packets > 0
}

// countDrops counts drops by reason and function, the most frequent first.
func countDrops(drops []nf.Dropped) []DropCount {
	n := map[DropCount]uint64{}
	for _, d := range drops {
		n[DropCount{Family: familyOf(d.Packet), Reason: d.Reason, Function: d.Function}]++
	}
	counts := make([]DropCount, 0, len(n))
	for t, packets := range n {
		t.Packets = packets
		counts = append(counts, t)
	}
	slices.SortFunc(counts, func(a, b DropCount) int {
		return cmp.Or(cmp.Compare(b.Packets, a.Packets), cmp.Compare(a.Family, b.Family), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Function, b.Function))
	})
	return counts
}

// kernelDrops returns how many packets of a family the kernel dropped for a reason.
func (p Path) kernelDrops(f nf.Family, reason string) (n uint64) {
	for _, t := range p.KernelDrops {
		if t.Family == f && t.Reason == reason {
			n += t.Packets
		}
	}
	return n
}

// DropsOf assigns drops to frames: of[i] has the drops of frames[i], in their order. A drop belongs to the last frame
// of the same packet before it that has no drop yet, preferably one that came in. rest has the drops without a frame:
// of packets that were reassembled, changed by NAT, or not captured.
func DropsOf(frames []packet.Record, drops []nf.Dropped) (of [][]nf.Dropped, rest []nf.Dropped) {
	of = make([][]nf.Dropped, len(frames))
	in, out := map[string][]int{}, map[string][]int{}
	for _, d := range drops {
		in[invariantPrefix(d.Packet, len(d.Packet))] = nil
	}
	lengths := map[int]bool{} // of the packets' beginnings that the drops have
	for _, d := range drops {
		lengths[len(d.Packet)] = true
	}
	for i, f := range frames {
		for n := range lengths {
			if n > len(f.Packet) {
				continue
			}
			key := invariantPrefix(f.Packet, n)
			if _, wanted := in[key]; !wanted {
				continue
			}
			if f.Dir == packet.In {
				in[key] = append(in[key], i)
			} else {
				out[key] = append(out[key], i)
			}
		}
	}
	for _, d := range drops {
		key := invariantPrefix(d.Packet, len(d.Packet))
		i := lastBefore(frames, of, in[key], d)
		if i < 0 {
			i = lastBefore(frames, of, out[key], d)
		}
		if i < 0 {
			rest = append(rest, d)
			continue
		}
		of[i] = append(of[i], d)
	}
	return of, rest
}

// lastBefore returns the last of some frames that precedes a drop and has none yet, or -1.
func lastBefore(frames []packet.Record, of [][]nf.Dropped, some []int, d nf.Dropped) int {
	n := sort.Search(len(some), func(k int) bool { return frames[some[k]].Time.After(d.Time) })
	for n--; n >= 0; n-- {
		if len(of[some[n]]) == 0 {
			return some[n]
		}
	}
	return -1
}

// invariantPrefix returns the first n bytes of a packet without what routers change: the time to live and its
// checksum.
func invariantPrefix(packet []byte, n int) string {
	b := bytes.Clone(packet[:n])
	header.ClearHop(b)
	return string(b)
}
