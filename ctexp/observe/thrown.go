package observe

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// DropSource tells which packets the kernel has thrown away in the namespace, and why. A *dropreason.Watcher is one, which
// needs the host's root and BPF.
type DropSource interface {
	// Drops yields what was dropped since the source was opened, in the kernel's order; see nf.Dropped.
	Drops(ctx context.Context) iter.Seq2[nf.Dropped, error]
}

// Thrown is how often the kernel threw packets away for a reason (see nf.Dropped).
type Thrown struct {
	Family   nf.Family
	Reason   string // "IP_RPFILTER"
	Function string
	Packets  uint64
}

// String prints it as "2 × NO_SOCKET in tcp_v4_rcv", without the number of one.
func (t Thrown) String() string {
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
func (t Thrown) key() Thrown {
	t.Packets = 0
	return t
}

// countThrown counts drops, the most frequent first.
func countThrown(drops []nf.Dropped) []Thrown {
	n := map[Thrown]uint64{}
	for _, d := range drops {
		n[Thrown{Family: familyOf(d.Packet), Reason: d.Reason, Function: d.Function}]++
	}
	counts := make([]Thrown, 0, len(n))
	for t, packets := range n {
		t.Packets = packets
		counts = append(counts, t)
	}
	slices.SortFunc(counts, func(a, b Thrown) int {
		return cmp.Or(cmp.Compare(b.Packets, a.Packets), cmp.Compare(a.Family, b.Family), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Function, b.Function))
	})
	return counts
}

// sub subtracts the count of b, and reports whether anything is left.
func (t *Thrown) sub(b Thrown) bool {
	t.Packets = saturatingSub(t.Packets, b.Packets)
	return t.Packets > 0
}

// thrown returns how many packets of a family were thrown away for a reason.
func (p Path) thrown(f nf.Family, reason string) (n uint64) {
	for _, t := range p.Thrown {
		if t.Family == f && t.Reason == reason {
			n += t.Packets
		}
	}
	return n
}
