package observe

import "golang.org/x/sys/unix"

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
	return before(unix.ByteSliceToString(u.Release[:]), major, minor)
}
