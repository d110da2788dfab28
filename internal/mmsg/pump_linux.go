package mmsg

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// Pump empties a socket whenever the kernel has put something into it, on a goroutine of its own, and when it is asked.
// While it does so, its mutex is held.
type Pump struct {
	sync.Mutex
	sock  Socket
	conn  syscall.RawConn
	done  chan struct{} // closed when the goroutine is gone
	empty func(fd int, asked bool) error
	err   error // what ended it
}

// Socket is a non-blocking socket that can be waited for, such as an os.File or a netlink.Conn.
type Socket interface {
	io.Closer
	syscall.Conn
	SetReadDeadline(t time.Time) error
}

// StartPump takes over a socket. Function empty reads without blocking until there is no more; asked tells a Drain from a
// wake-up by the kernel. An error ends the pump.
func StartPump(sock Socket, name string, empty func(fd int, asked bool) error) (*Pump, error) {
	p := &Pump{sock: sock, empty: empty, done: make(chan struct{})}
	conn, err := sock.SyscallConn()
	if err == nil {
		err = sock.SetReadDeadline(time.Time{}) // fails where the socket cannot be waited for
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

// Drain empties the socket now. When it returns, what the kernel had put into it before the call is out of it.
func (p *Pump) Drain() error {
	return p.Control(func(fd int) error { return p.emptyNow(fd, true) })
}

// Control runs f with the socket.
func (p *Pump) Control(f func(fd int) error) error {
	var done error
	if err := p.conn.Control(func(fd uintptr) { done = f(int(fd)) }); err != nil {
		return err
	}
	return done
}

// Stop ends the goroutine and waits for it. The socket is closed in the background: the kernel waits for a grace period
// before it lets go of a packet socket (net/packet/af_packet.c, packet_release), 8 ms or more.
func (p *Pump) Stop() {
	_ = p.sock.SetReadDeadline(time.Unix(1, 0))
	<-p.done
	go p.sock.Close()
}
