package netnsenv

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// thread is an operating system thread in a network namespace of its own. It runs what must happen inside, one call
// at a time, and dies with its goroutine: it is never given back to the Go runtime.
type thread struct {
	tid   int
	netns *os.File
	calls chan *call
	quit  chan struct{} // closed by close
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

// errGoexit says that the function ended its goroutine, which t.Fatal does: the thread is gone then.
var errGoexit = errors.New("netnsenv: Do: the function ended its goroutine (runtime.Goexit, as t.Fatal does); return an error instead")

// newThread makes the namespace and the thread in it.
func newThread() (*thread, error) {
	t := &thread{calls: make(chan *call), quit: make(chan struct{}), gone: make(chan struct{})}
	started := make(chan error, 1)
	go t.run(started)
	if err := <-started; err != nil {
		<-t.gone
		return nil, err
	}
	return t, nil
}

func (t *thread) run(started chan<- error) {
	defer close(t.gone)
	runtime.LockOSThread() // never unlocked
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		err = fmt.Errorf("unshare the network namespace: %w", err)
		if errors.Is(err, unix.EPERM) {
			err = userNamespacesError(err)
		}
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

// do runs f on the thread and returns its error; a panic of f goes on in the caller. Called on the thread itself it
// just calls f.
func (t *thread) do(f func() error) error {
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

// aside runs f on another thread that enters the namespace for it and dies afterwards: for what may wait for long.
func (t *thread) aside(f func() error) error {
	c := &call{done: make(chan struct{})}
	c.f = func() error {
		runtime.LockOSThread() // never unlocked: it could not go back to where it came from
		if err := unix.Setns(int(t.netns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the network namespace: %w", err)
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

// close ends the thread, and with it the processes that it started.
func (t *thread) close() {
	t.once.Do(func() {
		close(t.quit)
		<-t.gone
		t.netns.Close()
	})
}
