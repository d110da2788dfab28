package netnsenv

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Lost returns how many packets the host has sent by the link, since it was opened, that found no room in the queue for Read:
// that of a tun has room for 500 (the length of the interface's queue), that of veth for some 200 kB with overhead.
func (l *Link) Lost() (uint64, error) {
	var n uint64
	var err error
	if v, ok := l.dev.(*veth); ok {
		n, err = v.lost()
	} else {
		n, err = l.env.txDropped(l.index)
	}
	if err != nil {
		return 0, fmt.Errorf("link %q: packets lost: %w", l.cfg.Name, closedError(err))
	}
	return n, nil
}

// txDropped returns what an interface has thrown away, which a tun does where its queue is full (drivers/net/tun.c,
// tun_net_xmit).
func (e *Env) txDropped(index uint32) (uint64, error) {
	if e.FD() < 0 {
		return 0, ErrClosed
	}
	link, err := e.route.Link.Get(index)
	if err != nil {
		return 0, err
	}
	if link.Attributes == nil || link.Attributes.Stats64 == nil {
		return 0, fmt.Errorf("the kernel gives no statistics")
	}
	return link.Attributes.Stats64.TXDropped, nil
}

// lost adds up the packet socket's own count, which begins anew each time it is read (net/packet/af_packet.c,
// packet_getsockopt).
func (v *veth) lost() (uint64, error) {
	if v.closed.Load() {
		return 0, os.ErrClosed
	}
	raw, err := v.SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := raw.Control(func(fd uintptr) {
		var s *unix.TpacketStats
		if s, err = unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			v.dropped.Add(uint64(s.Drops))
		}
	})
	if cerr != nil {
		return 0, os.ErrClosed
	}
	return v.dropped.Load(), os.NewSyscallError("getsockopt(PACKET_STATISTICS)", err)
}
