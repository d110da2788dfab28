package observe

import (
	"errors"
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Namespace is where an Observer looks. *netnsenv.Env is one.
type Namespace interface {
	// Do runs f on a thread that is in the namespace and returns what f returns.
	Do(f func() error) error
	// FD returns an open file of the network namespace, or -1 when it is closed.
	FD() int
}

// Config says what is there to be observed. The zero Config observes a namespace without probes. A negative size is an error
// of Open.
type Config struct {
	// Probes are the probes whose counts Tally.Packets has, by name.
	Probes []nf.Probe
	// Path has the standard probes that Path reads. Empty: Path answers an nf.UnsupportedError, and Tally.Check says
	// that its laws are not applicable, unless the Probes have those that the laws need.
	Path []nf.Probe

	// Filler is the number of entries that fill the table up to the room asked for. They never appear in Flows and
	// Tally. Zero: there is no filler.
	Filler int
	// Unreplied says that the filler's entries are such as can be evicted and collected themselves.
	Unreplied bool
	// Limit is nf_conntrack_max at the time of opening. Where another is found later, Tally returns ErrLimitChanged.
	// Zero: it is not looked at.
	Limit int
	// Free is the number of entries that still fit into the table beside the Filler. Without a Filler it is not looked at:
	// as many fit as the kernel gives.
	Free int
	// Silent says that what the host itself sends without a socket of the experiment is dropped before conntrack.
	Silent bool

	// NoEvents leaves out the recording of events, which costs a flood of new flows some of its speed. The entries that
	// leave unasked (Tally.Collected) are counted all the same.
	NoEvents bool
	// MaxEvents is how many events are kept; those that come after them are counted and make Events end in
	// ErrEventsLost. One takes some 250 bytes. Zero: 250,000.
	MaxEvents int
	// EventBuffer is the size in bytes asked for the buffer in which the kernel leaves events to be read; it counts some
	// 640 bytes for one. An ordinary user gets no more than net.core.rmem_max. Zero: 128 MiB, of which only as much is used
	// as waits to be read.
	EventBuffer int

	// NoFrames leaves out the capture, which costs about half of the speed of a flood.
	NoFrames bool
	// MaxFrames is how many frames are kept; those that come after them are counted and make Frames end in
	// ErrFramesLost. Zero: 100,000.
	MaxFrames int
	// Ring is the size in bytes of a ring buffer that is shared with the kernel, for a capture that loses nothing of a
	// flood: 8 MiB are plenty, 1 MiB is the least, 1 GiB the most. Opening such a ring waits for a grace period of the kernel's
	// (net/packet/af_packet.c, packet_set_ring), 15 ms or so. Zero: an ordinary socket buffer, which is there at once.
	Ring int
}

// maxRing is the largest ring: the kernel takes its memory at once, some seconds for a few GiB.
const maxRing = 1 << 30

// check refuses sizes that are none.
func (c Config) check() error {
	for _, s := range []struct {
		name string
		n    int
	}{
		{"MaxEvents", c.MaxEvents}, {"EventBuffer", c.EventBuffer}, {"MaxFrames", c.MaxFrames}, {"Ring", c.Ring},
		{"Filler", c.Filler}, {"Limit", c.Limit},
	} {
		if s.n < 0 {
			return fmt.Errorf("config: %s is %d: want 0 for what is usual, or more", s.name, s.n)
		}
	}
	if c.Ring > maxRing {
		return fmt.Errorf("config: Ring is %d bytes: want at most %d (1 GiB)", c.Ring, maxRing)
	}
	return nil
}

const (
	defaultMaxFrames = 100_000
	defaultMaxEvents = 250_000
)

func (c Config) maxFrames() int {
	if c.MaxFrames > 0 {
		return c.MaxFrames
	}
	return defaultMaxFrames
}

func (c Config) maxEvents() int {
	if c.MaxEvents > 0 {
		return c.MaxEvents
	}
	return defaultMaxEvents
}

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
