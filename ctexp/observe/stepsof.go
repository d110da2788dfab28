package observe

import (
	"slices"
	"time"
)

// StepsOf tells which steps belong to which frame: of[i] has those of the packet that came in with frames[i], or, of the
// host's own packets, left with it. Of several frames that are alike the time decides, which the steps have from their
// frame; if that agrees nowhere, the order: the first belongs to the packet that was traced first, and so on. That a
// packet was forwarded with another frame does not count. What fits no frame is the rest: packets that were dropped before
// they left, that a rule has changed, or that were not captured.
func StepsOf(frames []Frame, steps []Step) (of [][]Step, rest []Step) {
	of = make([][]Step, len(frames))
	packets := map[int]*sighting{}
	var order []*sighting
	for _, s := range steps {
		p := packets[s.Packet]
		if p == nil {
			p = &sighting{link: s.Link, dir: s.Dir, header: s.Header, time: s.Time}
			packets[s.Packet] = p
			order = append(order, p)
		}
		p.dropped = p.dropped || s.Dropped()
	}
	sight(frames, order)
	for _, s := range steps {
		if i := packets[s.Packet].frame; i >= 0 {
			of[i] = append(of[i], s)
		} else {
			rest = append(rest, s)
		}
	}
	return of, rest
}

// sighting is a traced packet and the frame in which it was seen.
type sighting struct {
	link    string
	dir     Dir
	header  []byte
	time    time.Time // of its frame, if that is known
	dropped bool
	frame   int // its index, or -1
}

// sightedAs is what a packet and its frame have in common.
type sightedAs struct {
	link string
	dir  Dir
	head string // without checksums
	time int64  // in nanoseconds; 0: any
}

// sight finds the frames of packets, which stand in the order of their traces: by the time, or if that agrees nowhere, by
// the order.
func sight(frames []Frame, packets []*sighting) {
	for _, p := range packets {
		p.frame = -1
	}
	found := false
	for _, timed := range []bool{true, false} {
		if found {
			return
		}
		waiting := map[sightedAs][]*sighting{}
		var lengths []int
		for _, p := range packets {
			if len(p.header) == 0 || p.dir == Out && p.dropped { // what is dropped in the end has not left
				continue
			}
			as := sightedAs{link: p.link, dir: p.dir, head: string(unsummed(p.header))}
			if timed {
				as.time = p.time.UnixNano()
			}
			waiting[as] = append(waiting[as], p)
			if !slices.Contains(lengths, len(p.header)) {
				lengths = append(lengths, len(p.header))
			}
		}
		slices.SortFunc(lengths, func(a, b int) int { return b - a }) // the more that agrees the better
		for i, f := range frames {
			for _, n := range lengths {
				if n > len(f.Packet) {
					continue
				}
				as := sightedAs{link: f.Link, dir: f.Dir, head: string(unsummed(f.Packet[:n]))}
				if timed {
					as.time = f.Time.UnixNano()
				}
				if w := waiting[as]; len(w) > 0 {
					w[0].frame, waiting[as], found = i, w[1:], true
					break
				}
			}
		}
	}
}
