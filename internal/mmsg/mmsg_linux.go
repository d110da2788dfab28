// Package mmsg receives and sends many datagrams with one system call: a Buffer receives with recvmmsg(2), Send sends
// with sendmmsg(2). A Pump reads a socket whenever it becomes readable.
package mmsg

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Header is struct mmsghdr.
type Header struct {
	Msg unix.Msghdr // describes one datagram
	N   uint32      // length of the datagram in bytes, set by the kernel
}

// Send sends one datagram per header and returns how many were sent before the first error.
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

// Buffer holds the datagrams of one recvmmsg call. Buffers are pooled: see GetBuffer.
type Buffer struct {
	headers  []Header
	vectors  []unix.Iovec
	payloads []byte
	froms    [BufferLen]unix.RawSockaddrLinklayer
	controls [BufferLen][controlSize]byte
}

// BufferLen is the number of datagrams that fit into a Buffer.
const BufferLen = 32

const (
	datagramSize = 64<<10 + 64 // the largest packet with its link layer, and more than the largest netlink message
	controlSize  = 128         // a timestamp and a frame's tpacket_auxdata
)

// buffers holds Buffers of 2 MiB each. Pages that no datagram has reached are never touched.
var buffers = sync.Pool{New: func() any { return newBuffer() }}

// GetBuffer returns a Buffer from the pool. The caller returns it with Free.
func GetBuffer() *Buffer { return buffers.Get().(*Buffer) }

// Free returns the Buffer to the pool.
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

// Receive reads up to BufferLen datagrams without blocking and returns their number, at least 1. It returns unix.EAGAIN
// if there are none.
func (b *Buffer) Receive(fd int) (int, error) {
	for i := range b.headers {
		m := &b.headers[i].Msg
		m.Namelen = uint32(unsafe.Sizeof(b.froms[i])) // the kernel overwrites it with the length used
		m.SetControllen(controlSize)
	}
	return call(unix.SYS_RECVMMSG, fd, b.headers, unix.MSG_DONTWAIT)
}

// Payload returns the i-th datagram. It is valid until the next Receive.
func (b *Buffer) Payload(i int) []byte {
	from := i * datagramSize
	return b.payloads[from : from+min(int(b.headers[i].N), datagramSize)]
}

// Control returns the control messages of the i-th datagram.
func (b *Buffer) Control(i int) []byte {
	return b.controls[i][:min(int(b.headers[i].Msg.Controllen), controlSize)]
}

// From returns the link-layer address of the i-th datagram, if the socket is a packet socket.
func (b *Buffer) From(i int) *unix.RawSockaddrLinklayer { return &b.froms[i] }

// IsCut reports whether the i-th datagram was truncated to the Buffer's size.
func (b *Buffer) IsCut(i int) bool { return b.headers[i].Msg.Flags&unix.MSG_TRUNC != 0 }
