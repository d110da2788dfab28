// Package nsthread runs functions on operating system threads that are in another network namespace than the process.
package nsthread

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// Thread is an operating system thread in a network namespace. It runs what must happen inside, one call at a time, and
// dies with its goroutine: it is never given back to the Go runtime. The main thread must not become one, because a
// locked goroutine that ends on it wedges instead of ending the thread.
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

// ErrClosed says that the thread is gone.
var ErrClosed = errors.New("the thread of the network namespace has ended")

// errGoexit says that the function ended its goroutine, which t.Fatal does: the thread is gone then.
var errGoexit = errors.New("Do: the function ended its goroutine (runtime.Goexit, as t.Fatal does); return an error instead")

// New makes a network namespace and a thread in it.
func New() (*Thread, error) {
	return start(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare the network namespace: %w", err)
		}
		return nil
	})
}

// Join starts a thread in the network namespace that the file refers to. The file stays the caller's.
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

// FD returns the file descriptor of the namespace; it is good until Close.
func (t *Thread) FD() int { return int(t.netns.Fd()) }

// Do runs f on the thread and returns its error; a panic of f goes on in the caller. Called on the thread itself it
// just calls f. After Close it returns ErrClosed.
func (t *Thread) Do(f func() error) error {
	select {
	case <-t.gone: // before all: another thread may have its number by now
		return ErrClosed
	default:
	}
	if unix.Gettid() == t.tid { // only our locked goroutine runs there
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

// Aside runs f on another thread that enters the namespace for it and dies afterwards: for what may wait for long.
func (t *Thread) Aside(f func() error) error {
	c := &call{done: make(chan struct{})}
	c.f = func() error {
		runtime.LockOSThread() // never unlocked: it could not go back to where it came from
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

// Close ends the thread, and with it the processes that it started with Pdeathsig. A second Close does nothing.
func (t *Thread) Close() {
	t.once.Do(func() {
		close(t.quit)
		<-t.gone
		t.netns.Close()
	})
}
