package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/observe"
)

// sequence is a sequence diagram of the packets between the far end of each link and the host. Time goes down.
type sequence struct {
	Lifelines []string // names from left to right; the host is the second
	Messages  []item[message]
}

// message is an arrow: neighbouring frames in one Fold.
type message struct {
	Fold
	Gap    int    // index of the gap between lifelines that it begins to cross, from 1
	Wide   int    // number of gaps that it crosses
	Toward string // "right" or "left"
}

// maxMessages is the largest number of arrows.
const maxMessages = 60

// maxLifelines is the largest number of lifelines. Further links share the last one.
const maxLifelines = 8

// host is the index of the host's lifeline.
const host = 1

func (d Data) sequence() sequence {
	s := sequence{Lifelines: []string{"", "host"}}
	place := map[string]int{}
	learn := func(link string) {
		if _, ok := place[link]; ok {
			return
		}
		if len(place) == 0 {
			place[link], s.Lifelines[0] = 0, link
			return
		}
		if len(s.Lifelines) == maxLifelines {
			place[link], s.Lifelines[maxLifelines-1] = maxLifelines-1, "other links"
			return
		}
		place[link], s.Lifelines = len(s.Lifelines), append(s.Lifelines, link)
	}
	used := map[string]bool{}
	for _, f := range d.Frames {
		used[f.Link] = true
	}
	for _, l := range d.Links {
		if used[l.Name] {
			learn(l.Name)
		}
	}
	var all []message
	for _, f := range d.Frames {
		learn(f.Link)
		if n := len(all); n == 0 || !all[n-1].Add(f) {
			all = append(all, newMessage(f, place[f.Link]))
		}
	}
	s.Messages = shorten(all, maxMessages, 0, message.Lost)
	return s
}

func newMessage(f Frame, outside int) message {
	m := message{Fold: NewFold(f), Gap: min(outside, host) + 1, Wide: max(outside, host) - min(outside, host), Toward: "left"}
	if (f.Dir == In) == (outside < host) {
		m.Toward = "right"
	}
	return m
}

// Lost reports whether the host dropped the packet.
func (m message) Lost() bool { return m.Verdict == Dropped }

// Ends returns the endpoints in the direction of the packet: "198.18.0.2:10000–10006 → 192.0.2.1:80".
func (m message) Ends() string {
	if !m.Src.IsValid() {
		return ""
	}
	return joinPort(m.Src.Addr().String(), ports(m.SrcPorts)) + " → " + joinPort(m.Dst.Addr().String(), ports(m.DstPorts))
}

// joinPort appends a port to an address, if there is one.
func joinPort(addr, port string) string {
	switch {
	case port == "":
		return addr
	case strings.Contains(addr, ":"):
		return "[" + addr + "]:" + port
	}
	return addr + ":" + port
}

// Fold is a frame, or several neighbouring frames that differ only in the port of one side.
type Fold struct {
	Frame                       // the first frame
	Times              int      // number of frames
	SrcPorts, DstPorts []uint16 // the ports of all frames on the side where they differ, one port on the other side
}

// NewFold returns a Fold of one frame.
func NewFold(f Frame) Fold {
	return Fold{Frame: f, Times: 1, SrcPorts: []uint16{f.Src.Port()}, DstPorts: []uint16{f.Dst.Port()}}
}

// Add adds the next frame to the Fold if it differs only in a port, and reports whether it did.
func (f *Fold) Add(next Frame) bool {
	same := f.Link == next.Link && f.Dir == next.Dir && f.Src.Addr() == next.Src.Addr() && f.Dst.Addr() == next.Dst.Addr() &&
		f.What == next.What && f.Detail == next.Detail && f.State == next.State && f.Verdict == next.Verdict &&
		f.Reason == next.Reason && slices.Equal(f.Steps, next.Steps) && (f.Src.IsValid() || f.Line == next.Line)
	sameSrc := slices.Equal(f.SrcPorts, []uint16{next.Src.Port()})
	sameDst := slices.Equal(f.DstPorts, []uint16{next.Dst.Port()})
	if !same || !sameSrc && !sameDst || len(f.SrcPorts) > 1 && !sameDst || len(f.DstPorts) > 1 && !sameSrc ||
		f.Times > 1 && sameSrc != sameDst && len(f.SrcPorts) == 1 && len(f.DstPorts) == 1 {
		return false
	}
	f.Times++
	if !sameSrc {
		f.SrcPorts = append(f.SrcPorts, next.Src.Port())
	}
	if !sameDst {
		f.DstPorts = append(f.DstPorts, next.Dst.Port())
	}
	return true
}

// String prints the line of the frame with the ports of all frames, their number and their verdict: "IP
// 198.18.0.2.10000–10006 > 192.0.2.1.80: Flags [S], …, length 0 ×7 (dropped: conntrack table full)".
func (f Fold) String() string {
	s := f.Line
	if f.Times > 1 && f.Src.IsValid() && (len(f.SrcPorts) > 1 || len(f.DstPorts) > 1) {
		was := f.ends(f.SrcPorts[:1], f.DstPorts[:1])
		s = strings.Replace(s, was, f.ends(f.SrcPorts, f.DstPorts), 1)
	}
	if f.Times > 1 {
		s += fmt.Sprintf(" ×%d", f.Times)
	}
	switch {
	case f.Verdict == Dropped && f.Reason == "":
		s += " (dropped)"
	case f.Verdict == Dropped && len(f.Causes) == 1 && f.Causes[0].Kind == string(observe.CauseRule): // the reason begins with "dropped"
		s += " (" + f.Reason + ")"
	case f.Verdict == Dropped:
		s += " (dropped: " + f.Reason + ")"
	case held(f.Causes):
		s += " (" + f.Reason + ")"
	case f.Invalid:
		s += " (" + f.State + ")"
	}
	return s
}

// ends returns the endpoints as they appear in Line: "198.18.0.2.10000 > 192.0.2.1.80".
func (f Fold) ends(src, dst []uint16) string {
	return fmt.Sprintf("%v.%s > %v.%s", f.Src.Addr(), ports(src), f.Dst.Addr(), ports(dst))
}

// ports prints ports: "10000–10006" if they are consecutive, otherwise the first few; "" if there is none.
func ports(list []uint16) string {
	const max = 3
	last := list[len(list)-1]
	switch {
	case len(list) == 1 && last == 0:
		return ""
	case len(list) == 1:
		return fmt.Sprint(last)
	case consecutive(list):
		return fmt.Sprintf("%d–%d", list[0], last)
	}
	var s []string
	for _, p := range list[:min(max, len(list))] {
		s = append(s, fmt.Sprint(p))
	}
	if len(list) > max {
		return fmt.Sprintf("%s … %d", strings.Join(s, ", "), last)
	}
	return strings.Join(s, ", ")
}

// consecutive reports whether each port is the successor of the one before it.
func consecutive(list []uint16) bool {
	for i, p := range list {
		if int(p) != int(list[0])+i {
			return false
		}
	}
	return true
}
