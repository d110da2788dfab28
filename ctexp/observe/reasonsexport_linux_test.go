package observe

import (
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/internal/mmsg"
)

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
