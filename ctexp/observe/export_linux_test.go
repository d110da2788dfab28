package observe

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/mmsg"
)

// HoldCapture blocks the reading of frames until release is called, so that the kernel's buffer fills up.
func HoldCapture(o *Observer) (release func()) {
	o.capture.Lock()
	return o.capture.Unlock
}

// HoldEvents does the same with events.
func HoldEvents(o *Observer) (release func()) {
	o.events.Lock()
	return o.events.Unlock
}

// ReadEvents returns how many events were read so far.
func ReadEvents(o *Observer) int { return o.events.log.count() }

// Followers returns the number of running Follow iterations.
func Followers(o *Observer) int {
	o.events.log.mu.Lock()
	defer o.events.log.mu.Unlock()
	return len(o.events.log.followers)
}

// FindByEvents returns the flows found by their events, and false if they could not be found that way.
func FindByEvents(o *Observer, f nf.Filter) ([]nf.Entry, bool) {
	l, ok, err := o.findByEvents(f)
	sortFlows(l.entries)
	return l.entries, ok && err == nil
}

// FindByProc returns the flows found by procfs, and false if they could not be found that way.
func FindByProc(o *Observer, f nf.Filter) ([]nf.Entry, bool) {
	l, ok, err := o.findByProc(f)
	sortFlows(l.entries)
	return l.entries, ok && err == nil
}

// KnownZones returns the zones that are known from events, in order, and false if that is not all.
func KnownZones(o *Observer) ([]uint16, bool) {
	zones, ok := o.zones()
	slices.Sort(zones)
	return zones, ok
}

// HoldReasons blocks the reading of reasons until release is called.
func HoldReasons(o *Observer) (release func()) {
	o.reasons.Lock()
	return o.reasons.Unlock
}

// ShrinkReasons sets the receive buffer of reasons to its minimum.
func ShrinkReasons(o *Observer) { shrink(o.reasons.Pump) }

// HoldTrace blocks the reading of the trace until release is called.
func HoldTrace(o *Observer) (release func()) {
	o.trace.Lock()
	return o.trace.Unlock
}

// ShrinkTrace sets the receive buffer of the trace to its minimum.
func ShrinkTrace(o *Observer) { shrink(o.trace.Pump) }

func shrink(p *mmsg.Pump) {
	err := p.Control(func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1) })
	if err != nil {
		panic(err)
	}
}

// FillMarks stores as many marks as there may be, and then some more that are beyond.
func FillMarks(o *Observer, beyond int) {
	for n := -maxMarks; n < beyond; n++ {
		if !o.marks.full() {
			o.marks.add(mark{})
		}
	}
}

// HasRing reports whether frames are captured by a ring.
func HasRing(o *Observer) bool { return o.capture.ring.Load() != nil }

// OrdersStores says that a ring takes the place of a socket on machines of this kind.
const OrdersStores = ordersStores

// TakeRing makes a ring take the place of the socket now, and reports whether a ring captures.
func TakeRing(o *Observer) bool {
	c := o.capture
	c.Lock()
	do := c.do
	c.do = nil
	c.Unlock()
	if do != nil {
		c.takeRing(do)
	}
	return HasRing(o)
}

// StayWithSocket says that no ring takes the place of the socket.
func StayWithSocket(o *Observer) {
	o.capture.Lock()
	defer o.capture.Unlock()
	o.capture.do = nil
}
