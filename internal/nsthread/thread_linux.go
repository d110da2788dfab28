// Package nsthread runs functions on a Thread: an operating system thread in another network namespace than the process.
package nsthread

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// Thread is an operating system thread in a network namespace. It runs one function at a time. It ends with its
// goroutine and is never returned to the Go runtime. It must not be the main thread: a locked goroutine that ends there
// blocks forever instead of ending the thread.
type Thread struct {
	tid   int
	netns *os.File
	calls chan *call
	quit  chan struct{} // closed by Close
	gone  chan struct{} // closed when the thread has ended

	once sync.Once
}

type call struct {
	f        func() error
	err      error
	panicked any
	finished bool
	done     chan struct{}
}

// ErrClosed is returned by Do once the thread has ended.
var ErrClosed = errors.New("the thread of the network namespace has ended")

// errGoexit is returned if the function ended its goroutine, as t.Fatal does. The thread has then ended too.
var errGoexit = errors.New("the function ended its goroutine (runtime.Goexit, as t.Fatal does); return an error instead")

// New creates a network namespace and starts a thread in it.
func New() (*Thread, error) {
	return start(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare the network namespace: %w", err)
		}
		return nil
	})
}

// Join starts a thread in the network namespace that the file refers to. The caller keeps ownership of the file.
func Join(netns *os.File) (*Thread, error) {
	return start(func() error { return enter(netns) })
}

func enter(netns *os.File) error {
	if err := unix.Setns(int(netns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the network namespace: %w", err)
	}
	return nil
}

func start(enter func() error) (*Thread, error) {
	t := &Thread{calls: make(chan *call), quit: make(chan struct{}), gone: make(chan struct{})}
	started := make(chan error, 1)
	go t.run(enter, started)
	if err := <-started; err != nil {
		<-t.gone
		return nil, err
	}
	return t, nil
}

func (t *Thread) run(enter func() error, started chan<- error) {
	defer close(t.gone)
	runtime.LockOSThread() // never unlocked
	if err := enter(); err != nil {
		started <- err
		return
	}
	t.tid = unix.Gettid()
	var err error
	t.netns, err = os.Open("/proc/thread-self/ns/net")
	started <- err
	if err != nil {
		return
	}
	for {
		select {
		case c := <-t.calls:
			c.run()
		case <-t.quit:
			return
		}
	}
}

func (c *call) run() {
	defer close(c.done)
	defer func() {
		if !c.finished {
			if c.panicked = recover(); c.panicked == nil {
				c.err = errGoexit
			}
		}
	}()
	c.err = c.f()
	c.finished = true
}

// FD returns a file descriptor of the namespace. It is valid until Close.
func (t *Thread) FD() int { return int(t.netns.Fd()) }

// File returns the file of the namespace, which belongs to the Thread.
func (t *Thread) File() *os.File { return t.netns }

// Do runs f on the thread and returns its error. A panic in f is raised again in the caller. On the thread itself, Do
// just calls f. After Close it returns ErrClosed.
func (t *Thread) Do(f func() error) error {
	select {
	case <-t.gone: // checked first: another thread may have been given the same tid
		return ErrClosed
	default:
	}
	if unix.Gettid() == t.tid { // the thread runs no goroutine but ours
		return f()
	}
	c := &call{f: f, done: make(chan struct{})}
	select {
	case t.calls <- c:
		<-c.done
	case <-t.gone:
		return ErrClosed
	}
	if c.panicked != nil {
		panic(c.panicked)
	}
	return c.err
}

// Aside runs f on a temporary thread in the namespace, so that a function that blocks does not block Do. A panic in f
// is raised again in the caller.
func (t *Thread) Aside(f func() error) error {
	c := &call{done: make(chan struct{})}
	c.f = func() error {
		runtime.LockOSThread() // never unlocked: the thread cannot return to its previous namespace
		if err := enter(t.netns); err != nil {
			return err
		}
		return f()
	}
	go c.run()
	<-c.done
	if c.panicked != nil {
		panic(c.panicked)
	}
	return c.err
}

// Close ends the thread, and with it the processes that were started on it with Pdeathsig. A second Close does nothing.
func (t *Thread) Close() {
	t.once.Do(func() {
		close(t.quit)
		<-t.gone
		t.netns.Close()
	})
}
