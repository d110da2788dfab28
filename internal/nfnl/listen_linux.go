package nfnl

import (
	"encoding/binary"
	"errors"

	"github.com/mdlayher/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/internal/mmsg"
)

// Listener is a netfilter netlink socket that receives the messages that the kernel sends to multicast groups.
type Listener struct{ *netlink.Conn }

// Listen opens a socket in the network namespace of the calling thread. It receives the messages to the given groups
// (unix.NFNLGRP_*) that the filter accepts. Its receive buffer has the given size in bytes, or the largest size that an
// ordinary user may have. A Pump reads it.
func Listen(buffer int, filter []bpf.Instruction, groups ...uint32) (Listener, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return Listener{}, err
	}
	err = conn.SetReadBuffer(buffer)
	if err == nil && filter != nil {
		var raw []bpf.RawInstruction
		if raw, err = bpf.Assemble(filter); err == nil {
			err = conn.SetBPF(raw)
		}
	}
	for _, g := range groups {
		if err == nil {
			err = conn.JoinGroup(g)
		}
	}
	if err != nil {
		return Listener{}, errors.Join(err, conn.Close())
	}
	return Listener{conn}, nil
}

// Pump starts to read the socket, see mmsg.StartPump. From then on the Pump owns the socket.
func (l Listener) Pump(name string, read func(fd int, asked bool) error) (*mmsg.Pump, error) {
	return mmsg.StartPump(l.Conn, name, read)
}

// ReadAll reads the queued datagrams of a socket until there are none, and calls each for every n of them. It calls
// overrun if the receive buffer was full: from then on, until the buffer is empty, the kernel has queued nothing.
func ReadAll(fd int, overrun func(), each func(b *mmsg.Buffer, n int) error) error {
	b := mmsg.GetBuffer()
	defer b.Free()
	for {
		n, err := b.Receive(fd)
		switch {
		case err == unix.EAGAIN:
			return nil
		case err == unix.ENOBUFS:
			overrun()
		case err != nil:
			return err
		default:
			if err := each(b, n); err != nil {
				return err
			}
		}
	}
}

// BindLog makes the socket the reader of NFLOG groups, with whole packets and sequence numbers. A group has at most one
// reader: if there is another, the error is EPERM (net/netfilter/nfnetlink_log.c, nfulnl_recv_config).
func (l Listener) BindLog(groups ...uint16) error {
	var b Batch
	for _, g := range groups {
		b.Add(func(b []byte) []byte { return appendLogBind(b, g) })
	}
	return l.control(func(fd int) error {
		return Borrow(fd).Send(&b, func(_ int, err unix.Errno) error { return err })
	})
}

// UnbindLog releases the groups. It does not wait for a reply, so a Pump may be reading meanwhile.
func (l Listener) UnbindLog(groups ...uint16) error {
	var b []byte
	for _, g := range groups {
		b = AppendLogUnbind(b, g)
	}
	return l.control(func(fd int) error { return send(fd, b) })
}

// BindQueues makes the socket the reader of queues (NFQUEUE), in each of which at most maxLen packets wait. A queue has at
// most one reader: if there is another, the error is EPERM. A kernel with CONFIG_NETFILTER_NETLINK_GLUE_CT then reports
// the class of each packet. After an error none is bound.
func (l Listener) BindQueues(maxLen uint32, queues ...uint16) error {
	return l.control(func(fd int) error {
		asking := Borrow(fd) // no packet comes before a rule sends it
		for i, q := range queues {
			if err := asking.Do(appendQueueBind(nil, q, maxLen)); err != nil {
				for _, bound := range queues[:i] {
					_ = asking.Do(AppendQueueUnbind(nil, bound))
				}
				return err
			}
			_ = asking.Do(appendQueueClass(nil, q)) // else EOPNOTSUPP, and the class is not known
		}
		return nil
	})
}

// Send sends a request, which is numbered seq, by a socket that another goroutine reads. The kernel has processed it when
// Send returns, and has queued its reply.
func Send(fd int, request []byte, seq uint32) error {
	binary.NativeEndian.PutUint32(request[seqOffset:], seq)
	return send(fd, request)
}

func (l Listener) control(f func(fd int) error) error {
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := raw.Control(func(fd uintptr) { err = f(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}
