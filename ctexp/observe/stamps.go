package observe

import "time"

// stamps tells the time stamps of the kernel from those that are none. It begins to stamp packets for all sockets of the
// host when the first asks for it, but some milliseconds later (net/core/dev.c, net_enable_timestamp, puts it off to a
// work queue). What came before has the time at which it is being read (net/socket.c, __sock_recv_timestamp), which is
// behind all that the packet has brought about. Once it stamps it goes on doing so, as long as the socket is open.
type stamps struct {
	on    bool
	empty time.Time // when nothing was left to be read
}

// of returns the time of what was read by a call that began at the time read: its stamp, or if that is none, the latest
// time at which it had certainly not come yet, so that it stands before its consequences.
func (s *stamps) of(stamp, read time.Time) time.Time {
	if s.on || stamp.Before(read) {
		s.on = true
		return stamp
	}
	return s.empty
}
