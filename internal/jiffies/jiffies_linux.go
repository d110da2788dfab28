// Package jiffies reads the clock by which the kernel counts timeouts. It stands still between its ticks, which a busy or a
// virtual machine may have late, so that no other clock tells how much of a timeout is over.
package jiffies

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Now returns the time of the latest jiffy. The kernel advances jiffies and this clock one after the other
// (kernel/time/tick-sched.c, tick_do_update_jiffies64), the one in whole jiffies and the other by the time that is over: of
// two readings each may be wrong by a jiffy as a measure of jiffies.
func Now() (time.Duration, error) {
	var t unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_MONOTONIC_COARSE, &t)
	return time.Duration(t.Nano()), os.NewSyscallError("clock_gettime", err)
}

// Size returns the length of a jiffy: 1 to 10 ms.
func Size() (time.Duration, error) {
	var t unix.Timespec
	err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &t)
	return time.Duration(t.Nano()), os.NewSyscallError("clock_getres", err)
}
