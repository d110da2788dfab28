package observe

// HoldCapture keeps frames from being read until release is called, so that the kernel's buffer fills.
func HoldCapture(o *Observer) (release func()) {
	o.capture.mu.Lock()
	return o.capture.mu.Unlock
}

// HoldEvents does the same with events.
func HoldEvents(o *Observer) (release func()) {
	o.events.mu.Lock()
	return o.events.mu.Unlock
}

// Followers returns how many follow the events.
func Followers(o *Observer) int {
	o.events.log.mu.Lock()
	defer o.events.log.mu.Unlock()
	return len(o.events.log.followers)
}
