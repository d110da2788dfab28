package observe

import (
	"bytes"
	"sort"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// DropsOf tells which drops belong to which frame: of[i] has those of frames[i], in their order. A drop belongs to the last
// frame of the same packet before it that was not dropped already, one that came in rather than one that left. What fits
// no frame is the rest: packets put together from fragments, changed by NAT, or not captured.
func DropsOf(frames []Frame, drops []nf.Dropped) (of [][]nf.Dropped, rest []nf.Dropped) {
	of = make([][]nf.Dropped, len(frames))
	in, out := map[string][]int{}, map[string][]int{}
	for _, d := range drops {
		in[beginning(d.Packet, len(d.Packet))] = nil
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
			key := beginning(f.Packet, n)
			if _, wanted := in[key]; !wanted {
				continue
			}
			if f.Dir == In {
				in[key] = append(in[key], i)
			} else {
				out[key] = append(out[key], i)
			}
		}
	}
	for _, d := range drops {
		key := beginning(d.Packet, len(d.Packet))
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
func lastBefore(frames []Frame, of [][]nf.Dropped, some []int, d nf.Dropped) int {
	n := sort.Search(len(some), func(k int) bool { return frames[some[k]].Time.After(d.Time) })
	for n--; n >= 0; n-- {
		if len(of[some[n]]) == 0 {
			return some[n]
		}
	}
	return -1
}

// beginning returns the first n bytes of a packet without what routers change: the time to live and the checksum of it.
func beginning(packet []byte, n int) string {
	b := bytes.Clone(packet[:n])
	header.ClearHop(b)
	return string(b)
}
