package ctnl

import (
	"encoding/binary"
	"fmt"
	"os"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Batch collects requests for one send, which is many times faster than one at a time: see AppendCreate. The zero Batch
// is empty.
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
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return os.ErrClosed
	}
	first := c.seq + 1
	for _, at := range b.starts {
		c.seq++
		binary.NativeEndian.PutUint32(b.b[at+seqOffset:], c.seq)
	}
	// Refusals are answered in any case; of what is done only the last is to say so.
	last := b.b[b.starts[len(b.starts)-1]:]
	binary.NativeEndian.PutUint16(last[flagsOffset:], binary.NativeEndian.Uint16(last[flagsOffset:])|flagAck)
	if err := retry(func() error { return unix.Sendto(c.fd, b.b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}) }); err != nil {
		return fmt.Errorf("send %d requests: %w", b.Len(), err)
	}
	return c.answers(first, refused)
}

// answers reads up to the answer to the last request.
func (c *Conn) answers(first uint32, refused func(i int, err unix.Errno) error) (failed error) {
	for {
		n, err := c.read()
		if err != nil {
			return err
		}
		msgs, err := Split(c.buf[:n])
		if err != nil {
			return err
		}
		for _, m := range msgs {
			i := int(int32(m.Header.Sequence - first))
			if m.Header.Type != netlink.Error || i < 0 {
				continue // the rest of an answer that an earlier error left behind
			}
			err := errno(m.Data)
			if no, ok := err.(unix.Errno); ok {
				err = refused(i, no)
			}
			if failed == nil {
				failed = err
			}
			if m.Header.Sequence == c.seq {
				return failed
			}
		}
	}
}
