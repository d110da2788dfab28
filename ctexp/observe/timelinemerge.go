package observe

import (
	"sort"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// merge makes one list of several by time. The moments of each list stay in their own order, which is the kernel's and
// more to be relied on than a clock that may be set; of the same time, those of an earlier list come first.
func merge(lists ...[]Moment) []Moment {
	n := 0
	for _, l := range lists {
		n += len(l)
	}
	all := make([]Moment, 0, n)
	for len(all) < n {
		first := -1
		for i, l := range lists {
			if len(l) > 0 && (first < 0 || l[0].Time.Before(lists[first][0].Time)) {
				first = i
			}
		}
		all = append(all, lists[first][0])
		lists[first] = lists[first][1:]
	}
	return all
}

// behindFrames puts the moments that belong to a frame behind it, those of an earlier list first, and returns the others
// list by list. The i-th of frames has the number i+1.
func behindFrames(frames []Moment, lists ...[]Moment) (together []Moment, rest [][]Moment) {
	behind := make([][]Moment, len(frames))
	for _, list := range lists {
		var others []Moment
		for _, m := range list {
			if i := m.Frame - 1; i >= 0 && i < len(frames) {
				m.Time = frames[i].Time
				behind[i] = append(behind[i], m)
			} else {
				others = append(others, m)
			}
		}
		rest = append(rest, others)
	}
	for i, f := range frames {
		together = append(append(together, f), behind[i]...)
	}
	return together, rest
}

// incoming finds the frames of what came in, by the flow.
type incoming struct {
	frames  []Frame
	byTuple map[nf.Tuple][]int // indices of frames
}

func newIncoming(frames []Frame) *incoming {
	in := &incoming{frames: frames, byTuple: map[nf.Tuple][]int{}}
	for i, f := range frames {
		if t := f.Tuple(); f.Dir == In && t != (nf.Tuple{}) {
			in.byTuple[t] = append(in.byTuple[t], i)
		}
	}
	return in
}

// last returns the number of the last frame of a flow, in either direction, until that time; zero if there was none. What
// comes in has the tuples of its entry on either side of a NAT.
func (in *incoming) last(orig, reply nf.Tuple, until time.Time) int {
	number := 0
	for _, t := range []nf.Tuple{orig, reply} {
		of := in.byTuple[t]
		n := sort.Search(len(of), func(i int) bool { return in.frames[of[i]].Time.After(until) })
		if n > 0 {
			number = max(number, of[n-1]+1)
		}
	}
	return number
}
