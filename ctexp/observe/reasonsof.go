package observe

import "github.com/ctexp/go-ctexp/ctexp/nf"

// ReasonsOf tells which reasons belong to which frame: of[i] has those of frames[i], in their order. A reason belongs to
// the frame of the same packet that came in by the same link, or, of the host's own packets, left by it; of several such
// frames to the one of the same microsecond, else to the first in order that has none of that text yet. What fits no frame
// is the rest: packets that came in fragments, that a rule has changed before conntrack saw them, or that were not captured.
func ReasonsOf(frames []Frame, reasons []Reason) (of [][]Reason, rest []Reason) {
	of = make([][]Reason, len(frames))
	same := framesByPacket(frames, reasons)
	next := map[saidAbout]int{} // among the frames of that packet the first that may have none of that text
	for _, r := range reasons {
		i := -1
		// The bytes agree but for the checksums of the host's own packets.
		for _, p := range []packetOn{{r.Link, string(r.Packet)}, {r.Link, string(unsummed(r.Packet))}} {
			about := saidAbout{p, r.Text, r.Proto}
			i = atTheTime(of, same[p], r)
			for ; i < 0 && next[about] < len(same[p].order); next[about]++ {
				if j := same[p].order[next[about]]; !has(of[j], r) {
					i = j
				}
			}
			if i >= 0 {
				break
			}
		}
		if i < 0 {
			rest = append(rest, r)
			continue
		}
		of[i] = append(of[i], r)
	}
	return of, rest
}

// packetOn is what tells frames apart.
type packetOn struct{ link, packet string }

type saidAbout struct {
	packetOn
	text  string
	proto nf.Proto
}

// alike are the frames of one packet, by their indices.
type alike struct {
	order []int
	at    map[int64][]int // by their microsecond
}

// framesByPacket finds the frames of the packets that there are reasons for; of those that left also without checksums.
func framesByPacket(frames []Frame, reasons []Reason) map[packetOn]*alike {
	same := make(map[packetOn]*alike, len(reasons))
	for _, r := range reasons {
		for _, p := range []packetOn{{r.Link, string(r.Packet)}, {r.Link, string(unsummed(r.Packet))}} {
			if same[p] == nil {
				same[p] = &alike{at: map[int64][]int{}}
			}
		}
	}
	add := func(i int, packet []byte) {
		f := frames[i]
		if a := same[packetOn{f.Link, string(packet)}]; a != nil {
			a.order = append(a.order, i)
			a.at[f.Time.UnixMicro()] = append(a.at[f.Time.UnixMicro()], i)
		}
	}
	for i, f := range frames {
		add(i, f.Packet)
		if f.Dir == Out {
			add(i, unsummed(f.Packet))
		}
	}
	return same
}

// atTheTime returns the frame of the reason's microsecond, or -1.
func atTheTime(of [][]Reason, a *alike, r Reason) int {
	for _, i := range a.at[r.Time.UnixMicro()] {
		if !has(of[i], r) {
			return i
		}
	}
	return -1
}

// has reports whether a frame has a reason of the same text already.
func has(reasons []Reason, r Reason) bool {
	for _, s := range reasons {
		if s.Text == r.Text && s.Proto == r.Proto {
			return true
		}
	}
	return false
}
