package observe

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/mmsg"
)

// HoldCapture keeps frames from being read until release is called, so that the kernel's buffer fills.
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
func ReadEvents(o *Observer) int {
	o.events.log.mu.Lock()
	defer o.events.log.mu.Unlock()
	return o.events.log.kept.events
}

// Followers returns how many follow the events.
func Followers(o *Observer) int {
	o.events.log.mu.Lock()
	defer o.events.log.mu.Unlock()
	return len(o.events.log.followers)
}

// KernelBefore reports whether the running kernel is older than a release.
func KernelBefore(major, minor int) bool {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		panic(err)
	}
	return kernelBefore(unix.ByteSliceToString(u.Release[:]), major, minor)
}

// FindByEvents returns the flows that were found by their events, or false if they could not be.
func FindByEvents(o *Observer, f nf.Filter) ([]nf.Entry, bool) {
	l, ok, err := o.findByEvents(f)
	slices.SortFunc(l.entries, byTuple)
	return l.entries, ok && err == nil
}

// HoldReasons keeps reasons from being read until release is called.
func HoldReasons(o *Observer) (release func()) {
	o.reasons.Lock()
	return o.reasons.Unlock
}

// ShrinkReasons makes the receive buffer of reasons as small as it can be.
func ShrinkReasons(o *Observer) { shrink(o.reasons.Pump) }

// HoldTrace keeps the trace from being read until release is called.
func HoldTrace(o *Observer) (release func()) {
	o.trace.Lock()
	return o.trace.Unlock
}

// ShrinkTrace makes the receive buffer of the trace as small as it can be.
func ShrinkTrace(o *Observer) { shrink(o.trace.Pump) }

func shrink(p *mmsg.Pump) {
	err := p.Control(func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1) })
	if err != nil {
		panic(err)
	}
}
