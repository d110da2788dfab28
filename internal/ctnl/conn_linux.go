package ctnl

import (
	"fmt"
	"os"
	"sync"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Conn is a netfilter netlink socket for requests that are answered at once. It may be used from any goroutine.
//
// It exists beside mdlayher's because the answer to a GET carries NLM_F_MULTI and is followed by an acknowledgement,
// never by NLMSG_DONE, for which mdlayher/netlink from 1.10 on waits forever.
type Conn struct {
	mu  sync.Mutex
	fd  int // -1 when closed
	seq uint32
	buf []byte
}

// bufferSize holds any message: the kernel allocates dumps in pieces of at most 32 KiB and cuts what does not fit
// into the reader's buffer (net/netlink/af_netlink.c, netlink_recvmsg).
const bufferSize = 64 << 10

// Dial opens a socket in the network namespace of the calling thread.
func Dial() (*Conn, error) { return DialPort(0) }

// DialPort is Dial with a netlink port of the caller's choice, by which the events tell who has asked for what they tell;
// zero has the kernel choose.
func DialPort(port uint32) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open netfilter netlink socket: %w", err)
	}
	if err := setUp(fd, port); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("set up netfilter netlink socket: %w", err)
	}
	return &Conn{fd: fd, buf: make([]byte, bufferSize)}, nil
}

func setUp(fd int, port uint32) error {
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: port}); err != nil {
		return err
	}
	// Answers to what is refused need not repeat the request.
	if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1); err != nil {
		return err
	}
	// The kernel answers while it still is in our sendto; the time is for the case that it never does.
	return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10})
}

// Close closes the socket. A second Close does nothing.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return nil
	}
	err := unix.Close(c.fd)
	c.fd = -1
	return err
}

// Query sends one request and returns its answers up to the acknowledgement, which it asks for, or up to NLMSG_DONE
// for a dump. What the kernel refuses is a unix.Errno.
func (c *Conn) Query(m netlink.Message) ([]netlink.Message, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return nil, os.ErrClosed
	}
	if err := c.send(m); err != nil {
		return nil, err
	}
	return c.receive()
}

func (c *Conn) send(m netlink.Message) error {
	c.seq++
	m.Header.Sequence = c.seq
	m.Header.Flags |= netlink.Request | netlink.Acknowledge
	m.Header.Length = uint32(unix.NLMSG_HDRLEN + len(m.Data))
	b, err := m.MarshalBinary()
	if err != nil {
		return err
	}
	return retry(func() error { return unix.Sendto(c.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}) })
}

// read receives into c.buf.
func (c *Conn) read() (n int, err error) {
	var flags int
	err = retry(func() (err error) {
		n, _, flags, _, err = unix.Recvmsg(c.fd, c.buf, nil, 0)
		return err
	})
	switch {
	case err != nil:
		return 0, fmt.Errorf("receive: %w", err)
	case flags&unix.MSG_TRUNC != 0:
		return 0, fmt.Errorf("receive: a message of more than %d bytes was cut", len(c.buf))
	}
	return n, nil
}

func (c *Conn) receive() ([]netlink.Message, error) {
	var answers []netlink.Message
	for {
		n, err := c.read()
		if err != nil {
			return nil, err
		}
		msgs, err := Split(c.buf[:n])
		if err != nil {
			return nil, err
		}
		for _, m := range msgs {
			if m.Header.Sequence != c.seq {
				continue // the rest of an answer that an earlier error left behind
			}
			switch m.Header.Type {
			case netlink.Error:
				return answers, errno(m.Data)
			case netlink.Done:
				return answers, errno(m.Data)
			default:
				answers = append(answers, m)
			}
		}
	}
}

func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}
