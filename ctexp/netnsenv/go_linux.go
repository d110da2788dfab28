package netnsenv

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Go runs f on a thread of its own in the namespace and does not wait for it: f may block, as a daemon does, and other
// calls of Go and Do run beside it. Its context ends with ctx and when the Env is closed; Close waits until f has returned.
// wait does so, too, and returns the error of f. An error that f returned before Close, and for which nobody has waited, is
// one of Close. A panic in f ends the program.
//
// Sockets that f opens, files of /proc that it reads and programs that it starts belong to the namespace. Goroutines that it
// starts run on other threads, in the base namespace of the process: they may use what f has opened, so that a server whose
// listener f opens is served inside, but what they open themselves is outside, unless they use Go, Do, Listen or Dial. Code
// with goroutines that do not know of an Env is a program: see Entry.Programs.
func (e *Env) Go(ctx context.Context, f func(context.Context) error) (wait func() error) {
	if f == nil {
		panic("netnsenv: Go: the function is nil")
	}
	if ctx == nil {
		panic("netnsenv: Go with a nil context")
	}
	ctx, cancel := context.WithCancel(ctx)
	g := &goFunc{cancel: cancel, done: make(chan struct{})}
	if e.FD() < 0 {
		cancel()
		return func() error { return ErrClosed }
	}
	acted := e.acts()
	forget := e.onClose(g)
	go func() {
		defer cancel()
		err := explainStuck(e.thread.Aside(func() error { return f(ctx) }))
		g.end(err)
		if err != nil && ctx.Err() == nil {
			e.mu.Lock()
			e.failedGo = append(e.failedGo, g)
			e.mu.Unlock()
		}
		acted()
		if err == nil {
			forget()
		}
	}()
	return g.wait
}

// goFunc is a function that Go has started.
type goFunc struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when the function has returned

	mu      sync.Mutex
	err     error
	told    bool // somebody has waited for the error
	closing bool // the error is due to Close
}

func (g *goFunc) end(err error) {
	g.mu.Lock()
	g.err = err
	g.mu.Unlock()
	close(g.done)
}

// failed returns the error of a function that has ended, unless somebody has waited for it.
func (g *goFunc) failed() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.told {
		return nil
	}
	return fmt.Errorf("a function that Go ran has ended: %w", g.err)
}

func (g *goFunc) wait() error {
	<-g.done
	g.mu.Lock()
	defer g.mu.Unlock()
	g.told = true
	return g.err
}

// Close ends the function and waits for it.
func (g *goFunc) Close() error {
	select {
	case <-g.done:
	default:
		g.mu.Lock()
		g.closing = true
		g.mu.Unlock()
		g.cancel()
		<-g.done
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closing || g.told || errors.Is(g.err, context.Canceled) {
		return nil
	}
	return prefixed(g.err)
}
