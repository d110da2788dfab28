package nfnl

import (
	"errors"

	"github.com/mdlayher/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/internal/mmsg"
)

// Listener is a netfilter netlink socket that receives what the kernel tells by itself.
type Listener struct{ *netlink.Conn }

// Listen opens a socket, in the network namespace of the calling thread, that receives what the kernel sends to groups
// (unix.NFNLGRP_*) and what the filter lets pass. Its receive buffer has room for so many bytes, or for as many as an ordinary
// user may have. A Pump reads it.
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

// Pump reads what the socket receives, see mmsg.StartPump. The socket belongs to the Pump from then on.
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

// BindLog makes the socket the reader of groups of NFLOG, of whole packets with sequence numbers. A group has one reader:
// where there is another, the error is EBUSY.
func (l Listener) BindLog(groups ...uint16) error {
	var b Batch
	for _, g := range groups {
		b.Add(func(b []byte) []byte { return appendLogBind(b, g) })
	}
	return l.control(func(fd int) error {
		asking := Conn{fd: fd}
		return asking.Send(&b, func(_ int, err unix.Errno) error { return err })
	})
}

// UnbindLog lets go of groups at once, while a Pump may be reading, and without waiting for an answer.
func (l Listener) UnbindLog(groups ...uint16) error {
	var b []byte
	for _, g := range groups {
		b = AppendLogUnbind(b, g)
	}
	return l.control(func(fd int) error { return send(fd, b) })
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
