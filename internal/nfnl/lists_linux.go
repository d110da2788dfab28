package nfnl

import (
	"os"
	"slices"
	"sync"
)

// Lists reads long lists, several at once if necessary: while a Conn reads one it can do nothing else, but what reads it may
// ask for something else, or for another list. It may be used from any goroutine.
type Lists struct {
	do func(func() error) error

	mu     sync.Mutex
	spare  *Conn
	all    []*Conn
	closed bool
}

// NewLists returns the Lists of the network namespace in which do calls a function.
func NewLists(do func(func() error) error) *Lists { return &Lists{do: do} }

// Open opens the socket of the first list, so that the thread of the namespace is not needed for it. It must be called on a
// thread in the namespace.
func (l *Lists) Open() error {
	c, err := Dial()
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		_ = c.Close()
		return os.ErrClosed
	}
	l.spare, l.all = c, append(l.all, c)
	return nil
}

// Close closes all sockets. A list that is being read ends in os.ErrClosed.
func (l *Lists) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, c := range l.all {
		_ = c.Close()
	}
	return nil
}

// Walk reads a list and calls each for every message of it, as Listing.Next does, and between after the messages of each
// datagram. An error of theirs ends it.
func (l *Lists) Walk(d Dump, each func(body []byte, at int) error, between func() error) error {
	conn, err := l.take()
	if err != nil {
		return err
	}
	atEnd := false
	defer func() { l.put(conn, atEnd) }() // also if each ends the goroutine
	list, err := conn.List(d)
	for more := err == nil; more && err == nil; {
		if more, err = list.Next(each); err == nil {
			err = between()
		}
	}
	atEnd = err == nil
	return err
}

// take returns a connection for put.
func (l *Lists) take() (*Conn, error) {
	for {
		l.mu.Lock()
		c := l.spare
		l.spare = nil
		l.mu.Unlock()
		if c != nil {
			return c, nil
		}
		if err := l.do(l.Open); err != nil {
			return nil, err
		}
	}
}

// put gives a connection back. One whose list was not read to its end is of no use: its next list could only begin when the
// kernel has walked through the rest of the table.
func (l *Lists) put(c *Conn, atEnd bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if atEnd && l.spare == nil && !l.closed {
		l.spare = c
		return
	}
	l.all = slices.DeleteFunc(l.all, func(other *Conn) bool { return other == c })
	_ = c.Close()
}
