package netnsenv

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/mmsg"
)

// batchWriter is an outer end that takes many packets at once.
//
// Several goroutines may write to one descriptor at the same time, on different CPUs: neither a tun nor a packet socket
// has a lock on that way. Further queues of a tun (IFF_MULTI_QUEUE) do not make it faster (measured with two CPUs on 6.18:
// 0.65 million packets a second by one descriptor, 0.61 by two), and what the host sends would be spread over them.
type batchWriter interface {
	writeBatch(packets [][]byte) (int, error) // at most maxFrames of them
}

// WriteBatch is Write for many packets, from which it saves system calls, or at least what package os does at each. It
// returns how many were written before the first error. Several goroutines may call it at the same time, and write at the
// same time.
//
// Where the host may finish a packet after it was written, on veth above all, it does not run so far ahead that packets find the
// backlog of a CPU full.
func (l *Link) WriteBatch(packets [][]byte) (int, error) {
	b, ok := l.dev.(batchWriter)
	if !ok {
		return l.writeEach(packets)
	}
	for done := 0; ; {
		n, err := b.writeBatch(packets[done:min(len(packets), done+maxFrames)])
		done += n
		written := l.written.Add(uint64(n))
		if err == nil {
			err = l.fence.keepUp(written)
		}
		if err != nil || done == len(packets) {
			return done, closedError(err)
		}
	}
}

func (l *Link) writeEach(packets [][]byte) (int, error) {
	for i, p := range packets {
		if _, err := l.Write(p); err != nil {
			return i, err
		}
	}
	return len(packets), nil
}

// Arrived returns how many packets the host has begun with since the link was made, as its ingress hook has counted them.
func (l *Link) Arrived() (uint64, error) {
	n, err := l.fence.count()
	if err != nil {
		return 0, fmt.Errorf("link %q: %w", l.cfg.Name, err)
	}
	return n, nil
}

// mostAhead is how many packets may be under way: well below what the backlog of a CPU holds, which others use as well
// (net.core.netdev_max_backlog, 1000).
const mostAhead = 256

// keepUp waits until the host has begun with all but mostAhead of the packets that were written.
func (f *fence) keepUp(written uint64) error {
	if !f.async || written < f.seen.Load()+mostAhead {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	got, err := f.count()
	if err != nil {
		return err
	}
	if want := written - min(written, f.lost+mostAhead); got < want {
		if got, err = f.wait(context.Background(), got, want); err != nil {
			return err
		}
		if got < want {
			return fmt.Errorf("%d of %d packets have not arrived", written-f.lost-got, written)
		}
	}
	f.seen.Store(got + f.lost)
	return nil
}

// control runs f with the descriptor of a file, which stays open meanwhile; unlike its Write it has no lock.
func control(file *os.File, f func(fd int)) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	if raw.Control(func(fd uintptr) { f(int(fd)) }) != nil {
		return os.ErrClosed
	}
	return nil
}

// writeBatch writes the packets one by one: a tun takes one with each system call.
func (t *tun) writeBatch(packets [][]byte) (n int, err error) {
	cerr := control(t.file, func(fd int) {
		for n < len(packets) && err == nil {
			if _, err = unix.Write(fd, packets[n]); err == nil {
				n++
			} else if err == unix.EINTR {
				err = nil
			}
		}
	})
	if err == unix.EAGAIN && cerr == nil { // let package os wait
		if _, err = t.file.Write(packets[n]); err == nil {
			more, err := t.writeBatch(packets[n+1:])
			return n + 1 + more, err
		}
	}
	if err != nil {
		err = os.NewSyscallError("write", err)
	}
	return n, errors.Join(cerr, err)
}

// frames is memory for a call of sendmmsg.
type frames struct {
	headers  [maxFrames]mmsg.Header
	vectors  [maxFrames][2]unix.Iovec
	ethernet [maxFrames][header.EthernetSize]byte
}

// maxFrames is how many packets are written at a time.
const maxFrames = 64

var framesPool = sync.Pool{New: func() any { return new(frames) }}

// writeBatch adds the Ethernet headers without copying the packets.
func (v *veth) writeBatch(packets [][]byte) (n int, err error) {
	if v.closed.Load() {
		return 0, os.ErrClosed
	}
	f := framesPool.Get().(*frames)
	defer func() {
		clear(f.vectors[:]) // the packets are not ours
		framesPool.Put(f)
	}()
	cerr := control(v.File, func(fd int) {
		for n < len(packets) && err == nil {
			var sent int
			sent, err = f.send(fd, v, packets[n:])
			n += sent
		}
	})
	if err == unix.EAGAIN && cerr == nil { // let package os wait
		if _, err = v.Write(packets[n]); err == nil {
			more, err := v.writeBatch(packets[n+1:])
			return n + 1 + more, err
		}
	}
	if err != nil {
		err = os.NewSyscallError("sendmmsg", err)
	}
	return n, errors.Join(cerr, err)
}

func (f *frames) send(fd int, v *veth, packets [][]byte) (int, error) {
	for i, p := range packets {
		ethernet := &f.ethernet[i]
		binary.BigEndian.PutUint16(ethernet[copy(ethernet[:], v.header):], header.EtherTypeOf(p))
		iov := &f.vectors[i]
		iov[0].Base = &ethernet[0]
		iov[0].SetLen(header.EthernetSize)
		iov[1].Base = unsafe.SliceData(p)
		iov[1].SetLen(len(p))
		m := &f.headers[i].Msg
		m.Iov = &iov[0]
		m.SetIovlen(len(iov))
	}
	return mmsg.Send(fd, f.headers[:len(packets)])
}
