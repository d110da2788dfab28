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
// It is not one of mdlayher/netlink's, for two reasons. The answer to a GET of ctnetlink carries NLM_F_MULTI and is followed by
// an acknowledgement, never by NLMSG_DONE, for which that package from 1.10 on waits forever. And its sockets are known to
// Go's poller, which each answer wakes up: that makes a Get an eighth slower, and a Tally of an Observer a third.
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

// DialPort is Dial with a netlink port of the caller's choice, which the events that its requests cause have in their header;
// with zero the kernel chooses one.
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

// Get returns the entry of a zone that has t as its original or its reply tuple. If there is none the error is
// unix.ENOENT, for which errors.Is(err, fs.ErrNotExist) holds. An entry whose time is over is not found, and is
// destroyed by looking for it (net/netfilter/nf_conntrack_core.c, ____nf_conntrack_find).
//
// The Get of ti-mo/conntrack v0.6.0 never returns with mdlayher/netlink 1.10 and later, see Conn.
func (c *Conn) Get(t nf.Tuple, zone uint16) (nf.Entry, error) {
	e, _, err := c.GetWhole(t, zone)
	return e, err
}

// GetWhole is Get that also returns the first unknown attribute that it passed over.
func (c *Conn) GetWhole(t nf.Tuple, zone uint16) (e nf.Entry, unknown *UnknownError, err error) {
	if src, dst := nf.FamilyOf(t.Src.Addr()), nf.FamilyOf(t.Dst.Addr()); src != dst || !t.Src.IsValid() {
		return e, nil, fmt.Errorf("get entry %v %v: source and destination are not of one family", t.Proto, t)
	}
	answers := 0
	err = c.query(AppendGet(nil, nf.Entry{Orig: t, Zone: zone}), func(_ MessageHeader, body []byte, at int) (err error) {
		answers++
		e, unknown, err = DecodeWhole(body, at)
		return err
	})
	if err == nil && answers != 1 {
		err = fmt.Errorf("%d answers, want 1", answers)
	}
	if err != nil {
		return nf.Entry{}, nil, fmt.Errorf("get entry %v %v: %w", t.Proto, t, err)
	}
	return e, unknown, nil
}

// Dump asks for a list and calls each with the body of every message of it, which each must not keep, and where the body
// lies in the datagram. After an error of each it is not called again, but the list is read to its end.
func (c *Conn) Dump(d Dump, each func(body []byte, at int) error) error {
	return c.query(d.append(nil), func(_ MessageHeader, body []byte, at int) error { return each(body, at) })
}

// Query sends a request and returns its answers, for callers that have messages of other subsystems. What the kernel refuses
// is a unix.Errno.
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

// Do has one request carried out that changes something. What the kernel refuses is a unix.Errno.
func (c *Conn) Do(request []byte) error { return c.query(request, ignore) }

func ignore(MessageHeader, []byte, int) error { return nil }

// query sends one request, and calls answer with the messages of its answer. What the kernel refuses is a unix.Errno.
func (c *Conn) query(request []byte, answer func(h MessageHeader, body []byte, at int) error) error {
	return c.exchange(request, []int{0}, answer, func(_ int, err unix.Errno) error { return err })
}

// Batch collects requests that change something, for one send, which is many times faster than one at a time. The zero
// Batch is empty.
type Batch struct {
	b      []byte
	starts []int
}

// Add adds a request, which write appends to what it is given.
func (b *Batch) Add(write func([]byte) []byte) {
	b.starts = append(b.starts, len(b.b))
	b.b = write(b.b)
}

// Len returns how many requests are in the batch.
func (b *Batch) Len() int { return len(b.starts) }

// Reset empties the batch.
func (b *Batch) Reset() { b.b, b.starts = b.b[:0], b.starts[:0] }

// Send sends the requests of the batch, of which there should be some hundreds at most, and calls refused with the number
// of each that the kernel refuses, and why. The first error that refused returns is returned; it stops nothing.
func (c *Conn) Send(b *Batch, refused func(i int, err unix.Errno) error) error {
	if b.Len() == 0 {
		return nil
	}
	return c.exchange(b.b, b.starts, ignore, refused)
}

// exchange sends the requests that begin at starts in b, and reads all answers. Function answer is called with the messages
// of a list or of an entry, refused with the number of each request that the kernel refuses. The first error that one of
// them returns is returned; after it answer is not called again.
func (c *Conn) exchange(b []byte, starts []int, answer func(h MessageHeader, body []byte, at int) error, refused func(i int, err unix.Errno) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return os.ErrClosed
	}
	first := c.seq + 1
	for _, at := range starts {
		c.seq++
		binary.NativeEndian.PutUint32(b[at+seqOffset:], c.seq)
	}
	// The kernel answers what it refuses in any case; of what it does, only the last is acknowledged.
	flags := b[starts[len(starts)-1]+flagsOffset:]
	binary.NativeEndian.PutUint16(flags, binary.NativeEndian.Uint16(flags)|flagAck)
	if err := send(c.fd, b); err != nil {
		return fmt.Errorf("send %d requests: %w", len(starts), err)
	}
	return c.receive(first, answer, refused)
}

// send sends requests to the kernel, which has carried them out and answered when the call returns
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
				case i < 0 || done: // the rest of an answer that an earlier error left behind, or no answer at all
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

// read receives one datagram into c.buf. It need not wait: the kernel answers in send, and puts the next piece of a list
// into the queue when one is taken out (net/netlink/af_netlink.c, netlink_recvmsg). Where the queue had no room for an
// acknowledgement, there is none, and the error is EAGAIN.
func (c *Conn) read() (int, error) {
	if c.buf == nil {
		c.buf = make([]byte, bufferSize)
	}
	n, _, flags, _, err := unix.Recvmsg(c.fd, c.buf, nil, unix.MSG_DONTWAIT)
	switch {
	case err != nil:
		return 0, fmt.Errorf("receive: %w", err)
	case flags&unix.MSG_TRUNC != 0:
		return 0, fmt.Errorf("receive: a message of more than %d bytes was cut", len(c.buf))
	}
	return n, nil
}
