package observe

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pump empties a socket whenever the kernel has put something into it, on a goroutine of its own, and when it is asked.
type pump struct {
	file *os.File
	conn syscall.RawConn
	done chan struct{} // closed when the goroutine is gone

	mu    sync.Mutex // one empty at a time
	empty func(fd int, asked bool) error
	err   error // what ended it
}

// startPump takes over the non-blocking socket fd. Function empty reads without blocking until there is no more; asked
// tells a drain from a wake-up by the kernel. An error ends the pump.
func startPump(fd int, name string, empty func(fd int, asked bool) error) (*pump, error) {
	p := &pump{file: os.NewFile(uintptr(fd), name), empty: empty, done: make(chan struct{})}
	conn, err := p.file.SyscallConn()
	if err == nil {
		err = p.file.SetReadDeadline(time.Time{}) // fails where the socket cannot be waited for
	}
	if err != nil {
		_ = p.file.Close()
		return nil, fmt.Errorf("wait for %s: %w", name, err)
	}
	p.conn = conn
	go p.run()
	return p, nil
}

func (p *pump) run() {
	defer close(p.done)
	err := p.conn.Read(func(fd uintptr) bool { return p.emptyNow(int(fd), false) != nil })
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		p.mu.Lock()
		p.err = errors.Join(p.err, err)
		p.mu.Unlock()
	}
}

func (p *pump) emptyNow(fd int, asked bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = p.empty(fd, asked)
	}
	return p.err
}

// drain empties the socket now. When it returns, what the kernel had put into it before the call is out of it.
func (p *pump) drain() error {
	var drained error
	if err := p.conn.Control(func(fd uintptr) { drained = p.emptyNow(int(fd), true) }); err != nil {
		return err
	}
	return drained
}

// control runs f with the socket.
func (p *pump) control(f func(fd int) error) error {
	var done error
	if err := p.conn.Control(func(fd uintptr) { done = f(int(fd)) }); err != nil {
		return err
	}
	return done
}

// stop ends the goroutine and waits for it. The socket is closed in the background: the kernel waits for a grace period
// before it lets go of a packet socket (net/packet/af_packet.c, packet_release), 8 ms or more.
func (p *pump) stop() {
	_ = p.file.SetReadDeadline(time.Unix(1, 0))
	<-p.done
	go p.file.Close()
}

// enlarge asks for a receive buffer of n bytes, and takes what an ordinary user may have where more is refused.
func enlarge(fd, n int) error {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, n) == nil {
		return nil
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, n) // the kernel cuts n down to net.core.rmem_max
}
