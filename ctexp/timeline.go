package ctexp

import "github.com/ctexp/go-ctexp/ctexp/observe"

// Timeline returns what has happened since New in the order of time: the frames, below each of them what conntrack said
// about its packet, and how each Inject has changed the counts.
func (x *Experiment) Timeline() observe.Timeline {
	x.t.Helper()
	return ask(x, "Timeline", x.Observer.Timeline)
}
