package netnsenv

import (
	"container/list"
	"io"
	"syscall"
)

// closers are what an Env closes when it is closed itself.
type closers struct {
	list    list.List // of io.Closer, the last opened at its end
	sockets int       // that were opened since they were looked through, and those that were open then
	open    int       // sockets that were open then
}

// all goes through them, the last opened first.
func (c *closers) all(yield func(io.Closer) bool) {
	for at := c.list.Back(); at != nil; at = at.Prev() {
		if !yield(at.Value.(io.Closer)) {
			return
		}
	}
}

// onClose has c closed before the thread ends; at once if that has begun. forget takes that back, for what has been closed
// before.
func (e *Env) onClose(c io.Closer) (forget func()) {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		c.Close()
		return func() {}
	}
	defer e.mu.Unlock()
	at := e.closers.list.PushBack(c)
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if !e.closed { // else Close has it in hand
			e.closers.list.Remove(at)
		}
	}
}

// onCloseSocket is onClose for a socket that its user closes without a word to the Env. Those that are closed are forgotten
// whenever there are twice as many as the last time, so that an Env that dials for long keeps only what is open.
func (e *Env) onCloseSocket(c io.Closer) {
	const few = 64
	e.mu.Lock()
	e.closers.sockets++
	if e.closers.sockets > 2*e.closers.open+few && !e.closed {
		e.closers.forgetClosed()
	}
	e.mu.Unlock()
	e.onClose(c)
}

// forgetClosed looks through the sockets.
func (c *closers) forgetClosed() {
	c.open = 0
	for at := c.list.Front(); at != nil; {
		next := at.Next()
		if s, ok := at.Value.(syscall.Conn); ok {
			if isClosed(s) {
				c.list.Remove(at)
			} else {
				c.open++
			}
		}
		at = next
	}
	c.sockets = c.open
}

// isClosed reports whether a socket was closed: then its descriptor cannot be had.
func isClosed(s syscall.Conn) bool {
	raw, err := s.SyscallConn()
	return err != nil || raw.Control(func(uintptr) {}) != nil
}
