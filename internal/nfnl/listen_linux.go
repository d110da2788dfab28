package nfnl

import (
	"errors"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/internal/mmsg"
)

// Listen opens a socket in the network namespace of the calling thread and joins multicast groups (unix.NFNLGRP_*). The
// filter, which may be nil, selects the messages to receive. The receive buffer has room for the given number of bytes,
// or for the maximum of an unprivileged user. Conn.Pump reads the socket.
func Listen(buffer int, filter []bpf.Instruction, groups ...uint32) (*Conn, error) {
	c, err := Dial()
	if err != nil {
		return nil, err
	}
	err = c.sock.SetReadBuffer(buffer)
	if err == nil && filter != nil {
		var raw []bpf.RawInstruction
		if raw, err = bpf.Assemble(filter); err == nil {
			err = c.sock.SetBPF(raw)
		}
	}
	for _, g := range groups {
		if err == nil {
			err = c.sock.JoinGroup(g)
		}
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Pump starts a Pump that reads the socket; see mmsg.StartPump. The Pump takes ownership of the Conn.
func (c *Conn) Pump(name string, read func(fd int, asked bool) error) (*mmsg.Pump, error) {
	return mmsg.StartPump(c.sock, name, read)
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

// BindLog binds the socket to NFLOG groups, with whole packets and sequence numbers. If another socket is bound to a
// group, the error is EBUSY.
func (c *Conn) BindLog(groups ...uint16) error {
	var b Batch
	for _, g := range groups {
		b.Add(func(b []byte) []byte { return appendLogBind(b, g) })
	}
	return c.Send(&b, func(_ int, err unix.Errno) error { return err })
}

// UnbindLog unbinds the socket from NFLOG groups. It does not wait for a reply, and may be called while a Pump reads.
func (c *Conn) UnbindLog(groups ...uint16) error {
	var b []byte
	for _, g := range groups {
		b = appendLogUnbind(b, g)
	}
	return c.control(func(fd int) error { return send(fd, b) })
}
