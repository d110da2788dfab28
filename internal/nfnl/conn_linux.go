package nfnl

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Conn is a netfilter netlink socket for requests. It may be used from any goroutine.
//
// It receives replies itself, because the reply to a ctnetlink GET has NLM_F_MULTI but is followed by an
// acknowledgement rather than by NLMSG_DONE, for which mdlayher/netlink since 1.10 waits forever.
type Conn struct {
	mu  sync.Mutex
	fd  int // -1 when closed
	seq uint32
	buf []byte
}

// The kernel sends dumps in datagrams of at most 32 KiB (net/netlink/af_netlink.c, netlink_dump), and truncates a datagram that is
// larger than the reader's buffer (netlink_recvmsg). Other answers have 8 KiB at most (include/linux/netlink.h,
// NLMSG_GOODSIZE): a socket that reads no dump gets no more.
const (
	bufferSize = 64 << 10
	answerSize = 8 << 10
)

// grow prepares for the answers to a request.
func (c *Conn) grow(request []byte) {
	size := answerSize
	if binary.NativeEndian.Uint16(request[flagsOffset:])&flagDump == flagDump {
		size = bufferSize
	}
	if len(c.buf) < size {
		c.buf = make([]byte, size)
	}
}

// Dial opens a socket in the network namespace of the calling thread.
func Dial() (*Conn, error) { return DialPort(0) }

// DialPort is Dial with a given netlink port; with zero the kernel chooses one. Events that the socket's requests cause
// have the port in their header.
func DialPort(port uint32) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open netfilter netlink socket: %w", err)
	}
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: port})
	if err == nil { // answers to what is refused need not repeat the request
		err = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("set up netfilter netlink socket: %w", err)
	}
	return &Conn{fd: fd}, nil
}

// Borrow returns a Conn of a socket that belongs to somebody else, who reads nothing meanwhile. It is not closed.
func Borrow(fd int) *Conn { return &Conn{fd: fd} }

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

// Get returns the entry in a zone that has t as its original or its reply tuple. If there is none, the error is
// unix.ENOENT, for which errors.Is(err, fs.ErrNotExist) holds. An expired entry is not found, and the lookup destroys
// it (net/netfilter/nf_conntrack_core.c, ____nf_conntrack_find).
//
// The Get of ti-mo/conntrack v0.6.0 never returns with mdlayher/netlink 1.10 and later, see Conn.
func (c *Conn) Get(t nf.Tuple, zone uint16) (nf.Entry, error) {
	e, _, err := c.GetWhole(t, zone)
	return e, err
}

// GetWhole is Get that also returns the first unknown attribute, if any.
func (c *Conn) GetWhole(t nf.Tuple, zone uint16) (e nf.Entry, unknown *UnknownError, err error) {
	if src, dst := nf.FamilyOf(t.Src.Addr()), nf.FamilyOf(t.Dst.Addr()); src != dst || !t.Src.IsValid() {
		return e, nil, fmt.Errorf("get entry %v %v: source and destination are not of the same family", t.Proto, t)
	}
	answers := 0
	err = c.query(AppendGet(nil, nf.Entry{Orig: t, Zone: zone}), func(_ MessageHeader, body []byte, at int) (err error) {
		answers++
		e, unknown, err = DecodeWhole(body, at)
		return err
	})
	if err == nil && answers != 1 {
		err = fmt.Errorf("%d replies, want 1", answers)
	}
	if err != nil {
		return nf.Entry{}, nil, fmt.Errorf("get entry %v %v: %w", t.Proto, t, err)
	}
	return e, unknown, nil
}

// Dump requests a list and calls each for every message of it, with its body, which each must not retain, and the
// body's offset in the datagram. After an error, each is not called again, but the list is still read to its end.
func (c *Conn) Dump(d Dump, each func(body []byte, at int) error) error {
	return c.query(d.append(nil), func(_ MessageHeader, body []byte, at int) error { return each(body, at) })
}

// Listing is a dump that is read one datagram at a time. The Conn serves no other request before Next has returned false:
// after that, or closed, it is free.
type Listing struct {
	conn *Conn
	seq  uint32
	done bool
}

// List requests a list for Next to read.
func (c *Conn) List(d Dump) (*Listing, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return nil, os.ErrClosed
	}
	c.seq++
	request := d.append(nil)
	c.grow(request)
	binary.NativeEndian.PutUint32(request[seqOffset:], c.seq)
	if err := send(c.fd, request); err != nil {
		return nil, fmt.Errorf("send a request: %w", err)
	}
	return &Listing{conn: c, seq: c.seq}, nil
}

// Next receives the next datagram of the list, of at most 32 KiB, and calls each for every message in it, with its body,
// which each must not retain, and the body's offset in the datagram. It returns false at the end of the list, and an error of
// the kernel or of each. The Conn is not locked while each is called.
func (l *Listing) Next(each func(body []byte, at int) error) (more bool, err error) {
	if l.done {
		return false, nil
	}
	n, err := l.conn.receiveOne()
	if err != nil {
		return false, err
	}
	err = Messages(l.conn.buf[:n], func(h MessageHeader, body []byte, at int) error {
		switch {
		case h.Sequence != l.seq || l.done: // of an earlier reply
			return nil
		case h.Type == msgError, h.Type == msgDone:
			l.done = true
			return errorOf(body)
		}
		return each(body, at)
	})
	return !l.done && err == nil, err
}

// receiveOne is read for a Listing.
func (c *Conn) receiveOne() (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return 0, os.ErrClosed
	}
	return c.read()
}

// Query sends a request of any netfilter subsystem and returns the replies. An error of the kernel is a unix.Errno.
func (c *Conn) Query(m netlink.Message) ([]netlink.Message, error) {
	m.Header.Flags |= netlink.Request
	m.Header.Length = uint32(HeaderSize + len(m.Data))
	b, err := m.MarshalBinary()
	if err != nil {
		return nil, err
	}
	var answers []netlink.Message
	err = c.query(b, func(h MessageHeader, body []byte, _ int) error {
		answers = append(answers, netlink.Message{
			Header: netlink.Header{
				Length: uint32(HeaderSize + len(body)), Type: netlink.HeaderType(h.Type), Flags: netlink.HeaderFlags(h.Flags),
				Sequence: h.Sequence, PID: h.PID,
			},
			Data: append([]byte(nil), body...),
		})
		return nil
	})
	return answers, err
}

// Do sends one request that changes something. An error of the kernel is a unix.Errno.
func (c *Conn) Do(request []byte) error { return c.query(request, ignore) }

func ignore(MessageHeader, []byte, int) error { return nil }

// query sends one request and calls answer for each message of the reply. An error of the kernel is a unix.Errno.
func (c *Conn) query(request []byte, answer func(h MessageHeader, body []byte, at int) error) error {
	return c.exchange(request, []int{0}, answer, func(_ int, err unix.Errno) error { return err })
}

// Batch collects requests that change something, so that one system call sends them all. That is many times faster than
// one call each. The zero Batch is empty.
type Batch struct {
	b      []byte // the requests
	starts []int  // their offsets in b
}

// Add adds a request, which write appends to its argument.
func (b *Batch) Add(write func([]byte) []byte) {
	b.starts = append(b.starts, len(b.b))
	b.b = write(b.b)
}

// Len returns the number of requests in the batch.
func (b *Batch) Len() int { return len(b.starts) }

// Clone returns a copy. Send numbers the requests of a batch, so that two must not send one at the same time.
func (b *Batch) Clone() *Batch {
	return &Batch{b: append([]byte(nil), b.b...), starts: append([]int(nil), b.starts...)}
}

// Reset empties the batch.
func (b *Batch) Reset() { b.b, b.starts = b.b[:0], b.starts[:0] }

// Send sends the requests of the batch, a few hundred at most. It calls refused with the index of each request that
// fails and the kernel's error. It returns the first error of refused, after all requests have been processed.
func (c *Conn) Send(b *Batch, refused func(i int, err unix.Errno) error) error {
	if b.Len() == 0 {
		return nil
	}
	return c.exchange(b.b, b.starts, ignore, refused)
}

// exchange sends the requests that begin at starts in b, and reads all replies. It calls answer for each message of a
// reply, and refused with the index of each request that fails. It returns their first error. After that, answer is not
// called again.
func (c *Conn) exchange(b []byte, starts []int, answer func(h MessageHeader, body []byte, at int) error, refused func(i int, err unix.Errno) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return os.ErrClosed
	}
	c.grow(b[starts[0]:])
	first := c.seq + 1
	for _, at := range starts {
		c.seq++
		binary.NativeEndian.PutUint32(b[at+seqOffset:], c.seq)
	}
	// The kernel always reports errors. Only the last request needs an acknowledgement.
	flags := b[starts[len(starts)-1]+flagsOffset:]
	binary.NativeEndian.PutUint16(flags, binary.NativeEndian.Uint16(flags)|flagAck)
	if err := send(c.fd, b); err != nil {
		return fmt.Errorf("send %d requests: %w", len(starts), err)
	}
	return c.receive(first, answer, refused)
}

// send sends requests to the kernel. When it returns, the kernel has processed them and queued the replies
// (net/netfilter/nfnetlink.c, nfnetlink_rcv, runs in netlink_sendmsg).
func send(fd int, b []byte) error {
	return unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// receive reads the answers of exchange, up to that to the request with the latest sequence number.
func (c *Conn) receive(first uint32, answer func(h MessageHeader, body []byte, at int) error, refused func(i int, err unix.Errno) error) (failed error) {
	keep := func(err error) {
		if failed == nil {
			failed = err
		}
	}
	for done := false; !done; {
		n, err := c.read()
		if err == nil {
			err = Messages(c.buf[:n], func(h MessageHeader, body []byte, at int) error {
				i := int(int32(h.Sequence - first))
				switch {
				case i < 0 || done: // the rest of an earlier reply that was not read to its end, or not a reply
				case h.Type == msgError, h.Type == msgDone:
					done = h.Sequence == c.seq
					err := errorOf(body)
					if no, ok := err.(unix.Errno); ok {
						err = refused(i, no)
					}
					keep(err)
				case failed == nil:
					keep(answer(h, body, at))
				}
				return nil
			})
		}
		if err != nil {
			keep(err)
			return failed
		}
	}
	return failed
}

// read receives one datagram into c.buf. It does not block, because replies are queued already: the kernel replies in send, and
// queues the next part of a dump when one is received (net/netlink/af_netlink.c, netlink_recvmsg). If the queue had no room for an
// acknowledgement, there is none, and the error is EAGAIN.
func (c *Conn) read() (int, error) {
	n, _, flags, _, err := unix.Recvmsg(c.fd, c.buf, nil, unix.MSG_DONTWAIT)
	switch {
	case err != nil:
		return 0, fmt.Errorf("receive: %w", err)
	case flags&unix.MSG_TRUNC != 0:
		return 0, fmt.Errorf("receive: a message of more than %d bytes was truncated", len(c.buf))
	}
	return n, nil
}
