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

// DropSource tells which packets the kernel has thrown away in the namespace, and why. A *dropreason.Watcher is one, which
// needs the host's root and BPF.
type DropSource interface {
	// Drops yields what was dropped since the source was opened, in the kernel's order; see nf.Dropped.
	Drops(ctx context.Context) iter.Seq2[nf.Dropped, error]
}

// DropCount is how often the kernel threw packets away for a reason (see nf.Dropped).
type DropCount struct {
	Family   nf.Family
	Reason   string // "IP_RPFILTER"
	Function string
	Packets  uint64
}

// String prints it as "2 × NO_SOCKET in tcp_v4_rcv", without the number of one.
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

// key is t without its count.
func (t DropCount) key() DropCount {
	t.Packets = 0
	return t
}

// sub subtracts the count of b, and reports whether anything is left.
func (t *DropCount) sub(b DropCount) bool {
	t.Packets = saturatingSub(t.Packets, b.Packets)
	return t.Packets > 0
}

// countDrops counts drops, the most frequent first.
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

// thrown returns how many packets of a family were thrown away for a reason.
func (p Path) kernelDrops(f nf.Family, reason string) (n uint64) {
	for _, t := range p.KernelDrops {
		if t.Family == f && t.Reason == reason {
			n += t.Packets
		}
	}
	return n
}

// DropsOf tells which drops belong to which frame: of[i] has those of frames[i], in their order. A drop belongs to the last
// frame of the same packet before it that was not dropped already, one that came in rather than one that left. What fits
// no frame is the rest: packets put together from fragments, changed by NAT, or not captured.
func DropsOf(frames []packet.Record, drops []nf.Dropped) (of [][]nf.Dropped, rest []nf.Dropped) {
	of = make([][]nf.Dropped, len(frames))
	in, out := map[string][]int{}, map[string][]int{}
	for _, d := range drops {
		in[invariantPrefix(d.Packet, len(d.Packet))] = nil
	}
	lengths := map[int]bool{} // of what the drops have of their packets
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

// lastBefore returns the last of some frames before a drop that has none yet, or -1.
func lastBefore(frames []packet.Record, of [][]nf.Dropped, some []int, d nf.Dropped) int {
	n := sort.Search(len(some), func(k int) bool { return frames[some[k]].Time.After(d.Time) })
	for n--; n >= 0; n-- {
		if len(of[some[n]]) == 0 {
			return some[n]
		}
	}
	return -1
}

// beginning returns the first n bytes of a packet without what routers change: the time to live and the checksum of it.
func invariantPrefix(packet []byte, n int) string {
	b := bytes.Clone(packet[:n])
	header.ClearHop(b)
	return string(b)
}
