package observe

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Namespace is a network namespace that an Observer reads. *netnsenv.Env implements it.
type Namespace interface {
	// Do runs f on a thread in the namespace and returns the error of f.
	Do(f func() error) error
	// FD returns a file descriptor of the network namespace, or -1 after it was closed.
	FD() int
}

// Watched is a Namespace that reports when it may be changed, so that an Observer sees in time what makes its answers
// untrue: a switch of the kernel that is off for a while, a counter that goes back. *netnsenv.Env implements it.
type Watched interface {
	Namespace
	// OnChange calls look before and after each change until cancel is called. The returned do is Do for an Observer's
	// own purposes, which change nothing.
	OnChange(look func()) (do func(func() error) error, cancel func())
	// Acted returns a number that grows with all that may cause something to observe: packets sent, sockets opened,
	// programs run.
	Acted() uint64
}

// Outputter is a Namespace in which programs run whose output is part of the record. *netnsenv.Env implements it.
type Outputter interface {
	// Output yields what the programs have written, one line each with the program's name, in order of time.
	Output() iter.Seq2[time.Time, string]
}

// Holder is a Namespace in which packets may wait in queues, which Path then does not take for lost. *netnsenv.Env
// implements it.
type Holder interface {
	// Waiting returns how many packets wait in queues now.
	Waiting(ctx context.Context) ([]nf.Waiting, error)
}

// Config says what the namespace contains and what to record. The zero Config observes a namespace without probes.
// Open returns an error for a negative size.
type Config struct {
	// Probes are the probes whose packets Tally.Packets counts, by name.
	Probes []nf.Probe
	// Path has the standard probes that Observer.Path reads. Empty: Observer.Path returns ErrOff, and
	// Tally.Check returns ErrLawNotApplicable unless Probes has the probes that the laws need.
	Path []nf.Probe

	// Filler is the number of filler entries, which fill the table up to the requested room. They never appear in
	// Flows or in a Tally. Zero: there is no filler.
	Filler int
	// Unreplied says that the kernel may evict and collect the filler's entries.
	Unreplied bool
	// Limit is nf_conntrack_max at the time of Open. If it differs later, Tally returns ErrLimitChanged. Zero: it is
	// not checked.
	Limit int
	// Free is the number of entries that fit into the table beside the Filler. It is ignored without a Filler.
	Free int
	// Exclusive says that nothing but the experiment acts in the namespace. Flows then fails unless the kernel's count
	// of the table agrees with the entries that it lists.
	Exclusive bool
	// Silent says that packets which the host sends without a socket of the experiment are dropped before conntrack.
	Silent bool

	// NoEvents disables the recording of events, which slows down a flood of new flows. Tally.Collected is counted
	// anyway.
	NoEvents bool
	// MaxEvents is the largest number of events that are kept, about 250 bytes each. Further events are only counted,
	// and Events ends in ErrEventsLost. Zero: 250,000.
	MaxEvents int
	// EventBuffer is the requested size in bytes of the netlink receive buffer for events. The kernel charges about
	// 640 bytes for each event. Without CAP_NET_ADMIN in the initial user namespace net.core.rmem_max is the limit.
	// Zero: 128 MiB, of which only what waits to be read uses memory.
	EventBuffer int

	// NoFrames disables the capture, which costs about a fifth of the speed of a long flood, and half of that of a short one.
	NoFrames bool
	// MaxFrames is the largest number of frames that are kept, 40 bytes each and those of the frame. Further frames are
	// only counted, and Frames ends in ErrFramesLost. Zero: 1,000,000, about 80 MB of SYNs; of large frames fewer, those
	// that fit into 128 MiB, but at least 100,000.
	MaxFrames int
	// Ring is the size in bytes of a ring buffer shared with the kernel, which captures a flood without loss. 8 MiB
	// suffice; a smaller size than 1 MiB is rounded up, and a larger one than 1 GiB is an error. Opening the ring
	// waits for an RCU grace period, about 15 ms (net/packet/af_packet.c, packet_set_ring).
	//
	// Zero: an ordinary socket buffer, which needs no such wait, and after the first 512 frames, or the first one if there
	// is a Filler, a ring of 4 MiB, which is made in the background and takes the place of the socket between two frames; or a
	// ring of 8 MiB from the beginning in a netnsenv.Env that cannot have fragments copied (see
	// netnsenv.Env.CopiesFragments). With a socket buffer, in a namespace that is not a netnsenv.Env, fragments may have
	// the headers of those that the host sent when it fragmented the packet again.
	Ring int
}

// maxRing is the size of the largest ring. The kernel allocates it at once, which takes seconds for a few GiB.
const maxRing = 1 << 30

// check returns an error for an invalid size.
func (c Config) check() error {
	for _, s := range []struct {
		name string
		n    int
	}{
		{"MaxEvents", c.MaxEvents}, {"EventBuffer", c.EventBuffer}, {"MaxFrames", c.MaxFrames}, {"Ring", c.Ring},
		{"Filler", c.Filler}, {"Limit", c.Limit},
	} {
		if s.n < 0 {
			return fmt.Errorf("config: %s is %d: must not be negative", s.name, s.n)
		}
	}
	if c.Ring > maxRing {
		return fmt.Errorf("config: Ring is %d bytes: want at most %d (1 GiB)", c.Ring, maxRing)
	}
	return nil
}

const (
	defaultMaxFrames = 1_000_000
	defaultFrameRoom = 128 << 20 // bytes
	alwaysKept       = 100_000   // frames that are kept even if they need more room
	defaultMaxEvents = 250_000
)

// framelog returns an empty framelog with the limits of the Config.
func (c Config) framelog() framelog {
	if c.MaxFrames > 0 {
		return framelog{limit: c.MaxFrames}
	}
	return framelog{limit: defaultMaxFrames, room: defaultFrameRoom}
}

func (c Config) maxEvents() int {
	if c.MaxEvents > 0 {
		return c.MaxEvents
	}
	return defaultMaxEvents
}

// Errors of an incomplete observation. They are returned rather than a count that may be too low.
var (
	// ErrLimitChanged says that nf_conntrack_max, which is one value for the whole host, has changed since the
	// Observer was opened. The table then has other room than the experiment asked for.
	ErrLimitChanged = errors.New("the host's nf_conntrack_max has changed")
	// ErrFillerLost says that the garbage collector has taken entries of an un-replied filler, so that the table was not
	// full: after a full table in any namespace has dropped a new flow, it does so for up to a minute in each that stands
	// at 95 % or more of its limit (net/netfilter/nf_conntrack_core.c, gc_worker).
	ErrFillerLost = errors.New("the garbage collector has taken entries of the filler")
	// ErrOff is the error of what the Config or a sysctl of the namespace leaves out. The machine lacks nothing, so it is
	// no errors.ErrUnsupported, and a test that asks for it fails.
	ErrOff = errors.New("turned off")
	// ErrSwitched says that a sysctl on which an answer depends was changed since the Observer was opened: it is not
	// whole, even if the sysctl has its first value again.
	ErrSwitched = errors.New("a switch of the kernel was changed during the experiment")
	// ErrCountersReset says that a counter went back, by "nft reset counters" for instance, so that counts are too low.
	ErrCountersReset = errors.New("counters were reset during the experiment")
	// ErrNoLink says that a question is about a link that the namespace does not have and did not have.
	ErrNoLink = errors.New("there is no such link")
	// ErrVacuous says that nothing was sent, dialled or run since the Observer was opened, so that the absence of packets,
	// entries or events would be the same whatever the rules under test do; see Observer.AllowVacuous.
	ErrVacuous = errors.New("nothing was sent, dialled or run that could have shown the contrary")
	// ErrHidden says that the table has entries that Flows cannot list.
	ErrHidden = errors.New("the table has other entries than those that can be listed")
	// ErrEventsLost says that events are missing: the receive buffer was full, or MaxEvents was reached.
	ErrEventsLost = errors.New("conntrack events were lost")
	// ErrFramesLost says that Frames did not return every frame, or not every frame whole.
	ErrFramesLost = errors.New("frames were lost")
	// ErrReasonsLost says that Reasons did not return every reason of conntrack.
	ErrReasonsLost = errors.New("reasons of conntrack were lost")
	// ErrClassesLost says that Classes did not return the class of every packet.
	ErrClassesLost = errors.New("classes of packets were lost")
	// ErrTraceLost says that Trace did not return every step of the traced packets.
	ErrTraceLost = errors.New("trace steps were lost")
	// ErrProbeLost says that the counter of a probe no longer exists, most likely because its table was deleted. Before Linux
	// 5.12 "flush ruleset" does that, which is an nf.UnsupportedError too.
	ErrProbeLost = errors.New("the counter of a probe no longer exists")
	// ErrLawNotApplicable says that a precondition of the laws of Tally.Check does not hold.
	ErrLawNotApplicable = errors.New("law not applicable")
)

// turnedOff returns the ErrOff for what is left out: "no frames: the Observer was opened with NoFrames".
func turnedOff(what, how string) error { return offError("no " + what + ": " + how) }

type offError string

func (e offError) Error() string { return string(e) }

func (e offError) Is(target error) bool { return target == ErrOff }
