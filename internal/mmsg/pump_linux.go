package mmsg

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/ctexp/go-ctexp/internal/background"
)

// Pump reads a socket on its own goroutine whenever the socket becomes readable, and on request by Drain. Its mutex is
// held while it reads.
type Pump struct {
	sync.Mutex
	sock  Socket
	conn  syscall.RawConn
	done  chan struct{} // closed when the goroutine has ended
	empty func(fd int, asked bool) error
	err   error // the error that ended it
}

// Socket is a non-blocking socket that the runtime's poller knows, such as an os.File or a netlink.Conn.
type Socket interface {
	io.Closer
	syscall.Conn
	SetReadDeadline(t time.Time) error
}

// StartPump starts a Pump on sock and takes ownership of it. The function empty reads from fd without blocking until
// nothing is left; asked is true if Drain called it rather than the poller. An error from empty ends the pump. The name
// appears in errors.
func StartPump(sock Socket, name string, empty func(fd int, asked bool) error) (*Pump, error) {
	p := &Pump{sock: sock, empty: empty, done: make(chan struct{})}
	conn, err := sock.SyscallConn()
	if err == nil {
		err = sock.SetReadDeadline(time.Time{}) // fails if the poller does not support the socket
	}
	if err != nil {
		_ = sock.Close()
		return nil, fmt.Errorf("wait for %s: %w", name, err)
	}
	p.conn = conn
	go p.run()
	return p, nil
}

func (p *Pump) run() {
	defer close(p.done)
	err := p.conn.Read(func(fd uintptr) bool { return p.emptyNow(int(fd), false) != nil })
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		p.Lock()
		p.err = errors.Join(p.err, err)
		p.Unlock()
	}
}

func (p *Pump) emptyNow(fd int, asked bool) error {
	p.Lock()
	defer p.Unlock()
	if p.err == nil {
		p.err = p.empty(fd, asked)
	}
	return p.err
}

// Drain reads the socket now. When it returns, everything the kernel had queued before the call has been read.
func (p *Pump) Drain() error {
	return p.Control(func(fd int) error { return p.emptyNow(fd, true) })
}

// Control calls f with the socket's file descriptor.
func (p *Pump) Control(f func(fd int) error) error {
	var done error
	if err := p.conn.Control(func(fd uintptr) { done = f(int(fd)) }); err != nil {
		return err
	}
	return done
}

// Stop ends the goroutine and waits for it. The socket is closed in the background, because closing a packet socket
// waits for an RCU grace period of 8 ms or more (net/packet/af_packet.c, packet_release).
func (p *Pump) Stop() {
	_ = p.sock.SetReadDeadline(time.Unix(1, 0))
	<-p.done
	background.Close(p.sock)
}
