package observe

import "github.com/ctexp/go-ctexp/ctexp/nf"

// Life returns what happened to the entry that has flow as one of its tuples, as Event.Short prints it:
//
//	[]string{"NEW SYN_SENT", "UPDATE SYN_RECV", "UPDATE ESTABLISHED [ASSURED]", "DESTROY"}
//
// A flow that comes twice has both lives, one behind the other, and so has one that comes in two zones: to tell these apart,
// pass the events of one zone. Where events are missing, whoever's they were, it has
// "LOST", and behind the last of these "RESYNC …" if the entry was still there then. What never happens is not among them:
//
//	!slices.Contains(observe.Life(events, flow), "UPDATE SYN_RECV")
func Life(events []Event, flow nf.Tuple) []string {
	var life []string
	for _, e := range events {
		if e.Kind == EventLost || e.Kind.ofEntry() && (e.Entry.Orig == flow || e.Entry.Reply == flow) {
			life = append(life, e.Short())
		}
	}
	return life
}
