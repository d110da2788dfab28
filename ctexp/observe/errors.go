package observe

import "errors"

// What makes an observation incomplete. It is said rather than passed over: a count that may be short is no count.
var (
	// ErrLimitChanged says that nf_conntrack_max, which is one value for the whole host, is not what it was when the
	// Observer was opened, so that the room in the table is not what the experiment was promised.
	ErrLimitChanged = errors.New("the host's nf_conntrack_max was changed meanwhile")
	// ErrEventsLost says that the kernel had more events than the receive buffer could hold.
	ErrEventsLost = errors.New("conntrack events were lost")
	// ErrFramesLost says that frames were there which are not among those that Frames gave.
	ErrFramesLost = errors.New("frames were lost")
	// ErrReasonsLost says that conntrack had more reasons to give than those that Reasons gave.
	ErrReasonsLost = errors.New("reasons of conntrack were lost")
	// ErrTraceLost says that traced packets met more rules than those that Trace gave.
	ErrTraceLost = errors.New("steps of the trace were lost")
	// ErrProbeLost says that the counter of a probe is gone, most likely with its table.
	ErrProbeLost = errors.New("the counter of a probe is gone")
	// ErrLawNotApplicable says that Tally.Check cannot tell: something that the laws presuppose is not so.
	ErrLawNotApplicable = errors.New("law not applicable")
)
