package netnsenv

import (
	"os"
	"strings"
)

// mostAtOnce is how many frames a function that WriteBy runs may hand over where the host is done with each before the next.
const mostAtOnce = 4096

// WriteBy has write hand frames to the host in a way of its own, of which xdpflood has one, and counts them, so that Fence
// waits for them as for those of WriteFrame. write runs on the Env's thread in the namespace, where the interface has the
// index ifindex, and must not wait for Env.Do or Fence. It hands over at most so many frames, which is fewer where receive packet
// steering makes the host take them later, and returns how many the host was given, also with an error.
//
// On a tun the error is an *nf.UnsupportedError.
func (l *Link) WriteBy(write func(ifindex, most int) (int, error)) (int, error) {
	if _, ok := l.dev.(*veth); !ok {
		return 0, errNoEthernet
	}
	n, written := 0, uint64(0)
	err := l.env.Do(func() (err error) {
		// Nobody looks at what has arrived until what was written is counted.
		l.fence.mu.Lock()
		defer l.fence.mu.Unlock()
		n, err = write(int(l.index), atOnce())
		written = l.written.Add(uint64(n))
		return err
	})
	if err == nil {
		err = l.fence.keepUp(written)
	}
	return n, closedError(err)
}

// atOnce returns how many frames may be handed over, in the namespace of the calling thread. Before 6.3 there is no default;
// rps_cpus of a single link is the host's root's own affair.
func atOnce() int {
	mask, err := os.ReadFile("/proc/sys/net/core/rps_default_mask")
	if err == nil && strings.Trim(string(mask), "0,\n") != "" {
		return mostAhead
	}
	return mostAtOnce
}
