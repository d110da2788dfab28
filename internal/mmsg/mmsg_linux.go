// Package mmsg receives and sends many datagrams with one system call: Buffer is for recvmmsg(2), Send for sendmmsg(2). A Pump
// empties a socket whenever there is something in it.
package mmsg

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Header is struct mmsghdr.
type Header struct {
	Msg unix.Msghdr
	N   uint32 // bytes of the datagram, written by the kernel
}

// Send sends a datagram for each header, and returns how many were sent before the first error.
func Send(fd int, headers []Header) (int, error) { return call(unix.SYS_SENDMMSG, fd, headers, 0) }

func call(trap uintptr, fd int, headers []Header, flags uintptr) (int, error) {
	for {
		n, _, errno := unix.Syscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(headers))), uintptr(len(headers)), flags, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// Buffer is memory to receive datagrams into, which is used again.
type Buffer struct {
	headers  []Header
	vectors  []unix.Iovec
	payloads []byte
	froms    [BufferLen]unix.RawSockaddrLinklayer
	controls [BufferLen][controlSize]byte
}

// BufferLen is how many datagrams fit into a Buffer.
const BufferLen = 32

const (
	datagramSize = 64<<10 + 64 // the largest packet with its link layer, and more than the largest netlink message
	controlSize  = 128         // one time stamp, and what is known of a frame
)

// buffers are 2 MiB each, of which only what is filled is ever touched.
var buffers = sync.Pool{New: func() any { return newBuffer() }}

// GetBuffer returns a Buffer, which whoever has read with it gives back by Free.
func GetBuffer() *Buffer { return buffers.Get().(*Buffer) }

// Free gives the Buffer back.
func (b *Buffer) Free() { buffers.Put(b) }

func newBuffer() *Buffer {
	b := &Buffer{
		headers:  make([]Header, BufferLen),
		vectors:  make([]unix.Iovec, BufferLen),
		payloads: make([]byte, BufferLen*datagramSize),
	}
	for i := range b.headers {
		b.vectors[i].Base = &b.payloads[i*datagramSize]
		b.vectors[i].SetLen(datagramSize)
		m := &b.headers[i].Msg
		m.Iov = &b.vectors[i]
		m.SetIovlen(1)
		m.Name = (*byte)(unsafe.Pointer(&b.froms[i]))
		m.Control = &b.controls[i][0]
	}
	return b
}

// Receive returns how many datagrams it got, at least one, without waiting: unix.EAGAIN says that there are none.
func (b *Buffer) Receive(fd int) (int, error) {
	for i := range b.headers {
		m := &b.headers[i].Msg
		m.Namelen = uint32(unsafe.Sizeof(b.froms[i])) // the kernel has written here
		m.SetControllen(controlSize)
	}
	return call(unix.SYS_RECVMMSG, fd, b.headers, unix.MSG_DONTWAIT)
}

// Payload returns the i-th datagram, which the next Receive overwrites.
func (b *Buffer) Payload(i int) []byte {
	from := i * datagramSize
	return b.payloads[from : from+min(int(b.headers[i].N), datagramSize)]
}

// Control returns the control messages that came with the i-th datagram.
func (b *Buffer) Control(i int) []byte {
	return b.controls[i][:min(int(b.headers[i].Msg.Controllen), controlSize)]
}

// From returns the address that the i-th datagram, a frame of a packet socket, came from.
func (b *Buffer) From(i int) *unix.RawSockaddrLinklayer { return &b.froms[i] }

// IsCut reports whether the i-th datagram was larger than there is room for.
func (b *Buffer) IsCut(i int) bool { return b.headers[i].Msg.Flags&unix.MSG_TRUNC != 0 }
