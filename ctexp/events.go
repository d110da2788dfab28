package ctexp

import (
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

// Events returns what has happened to the conntrack table since New, in the kernel's order: all that the packets of an
// Inject have done, when it has returned. The test fails if some of it was lost.
func (x *Experiment) Events() []observe.Event {
	x.t.Helper()
	return askAll(x, "Events", x.Observer.Events)
}

// Life returns what has happened to a flow since New, as observe.Life does:
//
//	[]string{"NEW SYN_SENT", "UPDATE SYN_RECV", "UPDATE ESTABLISHED [ASSURED]", "DESTROY"}
func (x *Experiment) Life(flow nf.Tuple) []string {
	x.t.Helper()
	return observe.Life(x.Events(), flow)
}
