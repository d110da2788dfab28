package observe

import (
	"fmt"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/pktline"
)

// frameMoments returns the moments of frames, the i-th with the number i+1.
func frameMoments(frames []Frame) []Moment {
	moments := make([]Moment, len(frames))
	for i, f := range frames {
		moments[i] = Moment{Time: f.Time, Kind: KindFrame, Frame: i + 1, Text: f.line()}
	}
	return moments
}

// reasonMoments returns the moments of reasons, in the order of their frames, then those of reasons that belong to none.
// These say which packet they are about.
func reasonMoments(frames []Frame, reasons []Reason) []Moment {
	var moments []Moment
	of, rest := ReasonsOf(frames, reasons)
	for i, some := range of {
		for _, r := range some {
			moments = append(moments, Moment{Time: r.Time, Kind: KindReason, Frame: i + 1, Text: fmt.Sprintf("%v: %s", r.Proto, r.Text)})
		}
	}
	for _, r := range rest {
		text := fmt.Sprintf("%s %s: %v: %s", r.Link, pktline.Format(r.Packet), r.Proto, r.Text)
		moments = append(moments, Moment{Time: r.Time, Kind: KindReason, Text: text})
	}
	return moments
}

// stepMoments does the same with the rules that packets met.
func stepMoments(frames []Frame, steps []Step) []Moment {
	var moments []Moment
	of, rest := StepsOf(frames, steps)
	for i, some := range of {
		for _, s := range some {
			moments = append(moments, Moment{Time: s.Time, Kind: KindTrace, Frame: i + 1, Text: s.brief()})
		}
	}
	for _, s := range rest {
		text := fmt.Sprintf("%s %v %s: %s", s.Link, s.Dir, pktline.Format(s.Header), s.brief())
		moments = append(moments, Moment{Time: s.Time, Kind: KindTrace, Text: strings.TrimSpace(text)})
	}
	return moments
}

// eventMoments returns the moments of events in their order.
func eventMoments(frames []Frame, events []Event) []Moment {
	if len(events) == 0 {
		return nil
	}
	in := newIncoming(frames)
	moments := make([]Moment, len(events))
	for i, e := range events {
		moments[i] = Moment{Time: e.Time, Kind: KindEvent, Frame: in.behind(e), Text: e.String()}
		if e.Asked {
			moments[i].Text += " (by netlink)"
		}
	}
	return moments
}

// EventsOf tells which events belong to which frame: of[i] has those of frames[i], in their order. An event belongs to the
// last packet of its flow that came in before it. What fits no frame is the rest: what netlink or time has done.
func EventsOf(frames []Frame, events []Event) (of [][]Event, rest []Event) {
	of = make([][]Event, len(frames))
	in := newIncoming(frames)
	for _, e := range events {
		if n := in.behind(e); n > 0 {
			of[n-1] = append(of[n-1], e)
		} else {
			rest = append(rest, e)
		}
	}
	return of, rest
}

// behind returns the number of the frame that an event belongs to. Of the packets of a flow only a RST ends its entry;
// else it is time that does, or another's packet.
func (in *incoming) behind(e Event) int {
	if e.Asked || e.Kind != EventNew && e.Kind != EventUpdate && e.Kind != EventDestroy {
		return 0
	}
	n := in.last(e.Entry.Orig, e.Entry.Reply, e.Time)
	if n > 0 && e.Kind == EventDestroy && !strings.Contains(in.frames[n-1].TCPFlags(), "R") {
		return 0
	}
	return n
}

// dropMoments does the same with the packets that the kernel threw away.
func dropMoments(frames []Frame, drops []nf.Dropped) []Moment {
	var moments []Moment
	of, rest := DropsOf(frames, drops)
	for i, some := range of {
		for _, d := range some {
			moments = append(moments, Moment{Time: d.Time, Kind: KindDrop, Frame: i + 1, Text: Thrown{Reason: d.Reason, Function: d.Function, Packets: 1}.String()})
		}
	}
	for _, d := range rest {
		moments = append(moments, Moment{Time: d.Time, Kind: KindDrop, Text: d.String()})
	}
	return moments
}
