package netnsenv

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/internal/header"
)

// ReadNow is Read without waiting, whatever the deadline: it returns os.ErrDeadlineExceeded where no packet is there. It works
// beside a Read that waits.
func (l *Link) ReadNow(p []byte) (int, error) {
	d, ok := l.dev.(interface{ readNow(p []byte) (int, error) })
	if !ok {
		return 0, errors.ErrUnsupported
	}
	n, err := d.readNow(p)
	return n, closedError(err)
}

func (t *tun) readNow(p []byte) (int, error) { return readNow(t.file, p) }

func (v *veth) readNow(p []byte) (int, error) {
	frame := make([]byte, header.EthernetSize+len(p))
	for {
		if v.closed.Load() {
			return 0, os.ErrClosed
		}
		n, err := readNow(v.File, frame)
		if n < header.EthernetSize {
			return 0, err
		}
		if carriesIP(frame) {
			return copy(p, frame[header.EthernetSize:n]), err
		}
	}
}

// readNow reads from a file that does not block. Reading by way of os.File would do nothing at all once a deadline is
// over, and wait for a reader that waits (internal/poll, FD.Read).
func readNow(f *os.File, p []byte) (n int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := raw.Control(func(fd uintptr) {
		for {
			if n, err = unix.Read(int(fd), p); err != unix.EINTR {
				return
			}
		}
	})
	switch {
	case cerr != nil: // the only reason is that the file is closed (internal/poll, FD.RawControl)
		return 0, os.ErrClosed
	case err == unix.EAGAIN:
		return 0, os.ErrDeadlineExceeded
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	}
	return n, nil
}
