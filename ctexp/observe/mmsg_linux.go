package observe

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batch receives many datagrams with one system call, recvmmsg, into memory that it uses again.
type batch struct {
	headers  []mmsghdr
	vectors  []unix.Iovec
	payloads []byte
	froms    [batchSize]unix.RawSockaddrLinklayer
	controls [batchSize][controlSize]byte
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

const (
	batchSize    = 32
	datagramSize = 64<<10 + 64 // the largest packet with its link layer, and more than the largest netlink message
	controlSize  = 128         // one time stamp, and what is known of a frame
)

// batches are 2 MiB each, of which only what is filled is ever touched; they are held only while something is read.
var batches = sync.Pool{New: func() any { return newBatch() }}

func newBatch() *batch {
	b := &batch{
		headers:  make([]mmsghdr, batchSize),
		vectors:  make([]unix.Iovec, batchSize),
		payloads: make([]byte, batchSize*datagramSize),
	}
	for i := range b.headers {
		b.vectors[i].Base = &b.payloads[i*datagramSize]
		b.vectors[i].SetLen(datagramSize)
		h := &b.headers[i].hdr
		h.Iov = &b.vectors[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&b.froms[i]))
		h.Control = &b.controls[i][0]
	}
	return b
}

// receive returns how many datagrams it got, at least one, without blocking: unix.EAGAIN says that there are none.
func (b *batch) receive(fd int) (int, error) {
	for i := range b.headers {
		h := &b.headers[i].hdr
		h.Namelen = uint32(unsafe.Sizeof(b.froms[i])) // the kernel has written here
		h.SetControllen(controlSize)
	}
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.headers[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// payload returns the i-th datagram, which the next receive overwrites.
func (b *batch) payload(i int) []byte {
	from := i * datagramSize
	return b.payloads[from : from+min(int(b.headers[i].n), datagramSize)]
}

// control returns the control messages that came with the i-th datagram.
func (b *batch) control(i int) []byte {
	return b.controls[i][:min(int(b.headers[i].hdr.Controllen), controlSize)]
}

// cut reports whether the i-th datagram was larger than there is room for.
func (b *batch) cut(i int) bool { return b.headers[i].hdr.Flags&unix.MSG_TRUNC != 0 }
