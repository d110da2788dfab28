package observe

import "golang.org/x/sys/unix"

// HoldReasons keeps reasons from being read until release is called.
func HoldReasons(o *Observer) (release func()) {
	o.reasons.mu.Lock()
	return o.reasons.mu.Unlock
}

// ShrinkReasons makes the receive buffer of reasons as small as it can be.
func ShrinkReasons(o *Observer) { shrink(o.reasons.pump) }

// HoldTrace keeps the trace from being read until release is called.
func HoldTrace(o *Observer) (release func()) {
	o.trace.mu.Lock()
	return o.trace.mu.Unlock
}

// ShrinkTrace makes the receive buffer of the trace as small as it can be.
func ShrinkTrace(o *Observer) { shrink(o.trace.pump) }

func shrink(p *pump) {
	err := p.control(func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1) })
	if err != nil {
		panic(err)
	}
}
