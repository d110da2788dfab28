package netnsenv

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/internal/guard"
	"github.com/ctexp/go-ctexp/internal/plain"
)

// Cmd is an exec.Cmd whose program runs in the namespace and is killed with the Env. Set its fields before Start, Run,
// Output or CombinedOutput. The fields Pdeathsig and Setpgid of SysProcAttr are overwritten.
//
// What the program writes is recorded; see Env.Output. The program gets a pipe also where Stdout or Stderr is nil.
type Cmd struct {
	*exec.Cmd
	env     *Env
	program string // of Entry.Programs
	handed  bool   // the output is for the caller alone: Output, CombinedOutput
	awaited bool   // the caller of Start calls Wait at once: Run
	streams []*stream
	pipes   []*io.PipeReader // of StdoutPipe and StderrPipe
	parent  []*os.File       // ends of pipes that belong to the program
	ended   chan struct{}    // closed when the program has ended
	err     error            // of exec.Cmd.Wait; after ended
	once    sync.Once
	waitErr error

	mu         sync.Mutex
	registered bool // register was called
	forget     func()
}

// Command returns a command to run in the namespace. The kernel kills the program if the Env is closed or this process
// is killed. The processes that the program has started, also in the background, die with it then, if they are still in the
// namespace: Close kills them, or a process that outlives this one (called ctexp-guard).
func (e *Env) Command(ctx context.Context, name string, args ...string) *Cmd {
	return &Cmd{Cmd: exec.CommandContext(ctx, name, args...), env: e}
}

// String returns the name of the program, and its process number once it is started: "nginx[812]".
func (c *Cmd) String() string {
	name := plain.Line(filepath.Base(c.Args[0]))
	if c.Process == nil {
		return name
	}
	return fmt.Sprintf("%s[%d]", name, c.Process.Pid)
}

// Start starts the program and does not wait for it to end.
func (c *Cmd) Start() error {
	if c.SysProcAttr == nil {
		c.SysProcAttr = &syscall.SysProcAttr{}
	}
	// The signal is sent when the thread that started the program ends, which is the Env's.
	c.SysProcAttr.Pdeathsig = unix.SIGKILL
	c.SysProcAttr.Setpgid = true
	if c.program != "" {
		if err := errNotBecome(); err != nil {
			return err
		}
		if c.Env == nil {
			c.Env = os.Environ()
		}
		c.Env = append(c.Env, programMark+"="+c.program)
	}
	if err := checkCredential(c.SysProcAttr.Credential); err != nil {
		return prefixed(err)
	}
	if err := c.env.guarded(); err != nil {
		return prefixed(err)
	}
	looked := c.env.changes()
	if err := c.start(); err != nil {
		return err // and nothing was run
	}
	c.env.watch.acted.Add(1)
	go func() {
		c.end(c.Cmd.Wait())
		looked()
		c.register(nil)
		close(c.ended)
	}()
	c.register(c.env.onClose(closerFunc(c.kill)))
	return nil
}

// register is called with what removes the program from what the Env closes, and when the program has ended. The second
// call, in either order, removes it.
func (c *Cmd) register(forget func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.forget != nil:
		c.forget()
	case c.registered:
		forget()
	default:
		c.registered, c.forget = true, forget
	}
}

// start starts the program with pipes of ours, so that exec.Cmd.Wait waits for nothing but the program.
func (c *Cmd) start() (err error) {
	c.ended = make(chan struct{})
	defer func() {
		for _, f := range c.parent {
			f.Close()
		}
		if err != nil {
			for _, s := range c.streams {
				s.r.Close()
			}
		}
	}()
	feed, err := c.plumb()
	if err != nil {
		return err
	}
	if err := c.env.do(c.Cmd.Start); err != nil {
		return err
	}
	for _, s := range c.streams {
		go s.run()
	}
	feed()
	return nil
}

// plumb replaces what is no file by pipes. feed copies to the program's input what it is to read.
func (c *Cmd) plumb() (feed func(), err error) {
	same := sameWriter(c.Stdout, c.Stderr)
	for _, w := range []*io.Writer{&c.Stdout, &c.Stderr} {
		if same && w == &c.Stderr {
			c.Stderr = c.Stdout
			continue
		}
		if _, file := (*w).(*os.File); file {
			continue
		}
		var tell func(string)
		if !c.handed {
			tell = func(line string) { c.env.outputs.add(c, line, false) }
		}
		s, end, err := newStream(*w, tell)
		if err != nil {
			return nil, err
		}
		c.streams, c.parent, *w = append(c.streams, s), append(c.parent, end), end
	}
	if _, file := c.Stdin.(*os.File); file || c.Stdin == nil {
		return func() {}, nil
	}
	from := c.Stdin
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.parent, c.Stdin = append(c.parent, r), r
	return func() {
		go func() {
			_, _ = io.Copy(w, from) // the program need not read all
			w.Close()
		}()
	}, nil
}

// sameWriter reports whether two writers are one, for writers that can be compared.
func sameWriter(a, b io.Writer) bool {
	defer func() { _ = recover() }()
	return a == b
}

// end records how the program has ended.
func (c *Cmd) end(err error) {
	for _, s := range c.streams {
		if s.to == nil {
			s.drain()
		}
	}
	c.err = err
	o := &c.env.outputs
	if !c.awaited {
		status := "exit status 0"
		if err != nil {
			status = err.Error()
		}
		o.add(c, status, true)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !c.awaited && hasFailed(c.ProcessState) {
		o.failed = append(o.failed, c)
	}
	o.wake()
}

// hasFailed reports whether a program has ended by a status other than 0, or by a fault: not if it was killed.
func hasFailed(p *os.ProcessState) bool {
	if p == nil {
		return false
	}
	status, ok := p.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return !p.Success()
	}
	return slices.Contains([]syscall.Signal{unix.SIGSEGV, unix.SIGABRT, unix.SIGBUS, unix.SIGILL, unix.SIGFPE, unix.SIGSYS, unix.SIGTRAP}, status.Signal())
}

// Wait waits for the program to end, as exec.Cmd does, and for the end of what goes to a Writer. It may be called more
// than once.
func (c *Cmd) Wait() error {
	if c.ended == nil {
		return errors.New("netnsenv: Wait: the program is not started")
	}
	<-c.ended
	c.once.Do(func() { c.waitErr = c.wait() })
	return c.waitErr
}

func (c *Cmd) wait() error {
	o := &c.env.outputs
	o.mu.Lock()
	o.failed = slices.DeleteFunc(o.failed, func(f *Cmd) bool { return f == c })
	o.mu.Unlock()
	for _, p := range c.pipes {
		p.Close()
	}
	late := make(chan struct{})
	if c.WaitDelay > 0 {
		defer time.AfterFunc(c.WaitDelay, func() { close(late) }).Stop()
	}
	err := c.err
	for _, s := range c.streams {
		if s.to == nil {
			continue // what the program wrote was read at its end
		}
		select {
		case <-s.done:
		case <-late:
			s.r.Close()
			<-s.done
			err = cmp.Or(err, exec.ErrWaitDelay)
		}
		if _, pipe := s.to.(*io.PipeWriter); !pipe {
			err = cmp.Or(err, s.err)
		}
	}
	return err
}

// StdoutPipe is that of exec.Cmd. What is read from it is also recorded.
func (c *Cmd) StdoutPipe() (io.ReadCloser, error) { return c.pipe(&c.Stdout) }

// StderrPipe is that of exec.Cmd. What is read from it is also recorded.
func (c *Cmd) StderrPipe() (io.ReadCloser, error) { return c.pipe(&c.Stderr) }

func (c *Cmd) pipe(to *io.Writer) (io.ReadCloser, error) {
	if *to != nil {
		return nil, errors.New("netnsenv: Stdout or Stderr is set already")
	}
	if c.ended != nil {
		return nil, errors.New("netnsenv: a pipe after Start")
	}
	r, w := io.Pipe()
	c.pipes = append(c.pipes, r)
	*to = w
	return r, nil
}

// AwaitLine waits until the program has written a line that contains text, also if it did so before, and returns the line. If
// the program ends before, the error has its status and its last output.
func (c *Cmd) AwaitLine(ctx context.Context, text string) (string, error) {
	if len(c.streams) == 0 {
		return "", errors.New("netnsenv: AwaitLine: the program is not started, or its output goes to a file")
	}
	for {
		line, found, changed, ended := c.look(text)
		switch {
		case found:
			return line, nil
		case ended != nil:
			return "", fmt.Errorf("netnsenv: no line %q: %w", text, ended)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", fmt.Errorf("netnsenv: no line %q of %v: %w", text, c, context.Cause(ctx))
		}
	}
}

// look returns the first line with text, or what tells of a change, or the error of a program that has
// ended without one.
func (c *Cmd) look(text string) (line string, found bool, changed <-chan struct{}, ended error) {
	o := &c.env.outputs
	o.mu.Lock()
	defer o.mu.Unlock()
	over := false
	for _, l := range o.lines {
		switch {
		case l.by != c:
		case l.end:
			over = true
		case strings.Contains(l.text, text):
			return l.text, true, nil, nil
		}
	}
	if over {
		return "", false, nil, o.ended(c)
	}
	return "", false, o.change(), nil
}

// Run starts the program and waits for it.
func (c *Cmd) Run() error {
	c.awaited = true
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output runs the program and returns what it wrote to its standard output; the error has the first line of
// the rest, and its *exec.ExitError all of it.
func (c *Cmd) Output() ([]byte, error) {
	if c.Stdout != nil {
		return nil, errors.New("netnsenv: Output: Stdout is set")
	}
	c.handed = true
	var out, errOut bytes.Buffer
	c.Stdout = &out
	if c.Stderr == nil {
		c.Stderr = &errOut
	}
	err := c.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		exit.Stderr = errOut.Bytes()
		if why, _, _ := strings.Cut(strings.TrimSpace(errOut.String()), "\n"); why != "" {
			err = fmt.Errorf("%s: %w: %s", plain.Line(strings.Join(c.Args, " ")), err, plain.Line(why))
		}
	}
	return out.Bytes(), err
}

// CombinedOutput runs the program and returns what it wrote to its standard output and error.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	if c.Stdout != nil || c.Stderr != nil {
		return nil, errors.New("netnsenv: CombinedOutput: Stdout or Stderr is set")
	}
	c.handed = true
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.Bytes(), err
}

// kill kills the program and all other processes in the namespace, and waits for the program.
func (c *Cmd) kill() error {
	_ = c.Process.Kill() // it may have ended already
	c.env.killInside()
	<-c.ended
	for _, p := range c.pipes {
		p.Close()
	}
	for _, s := range c.streams { // all that could write is killed, or has left the namespace
		s.drain()
		s.r.Close()
		<-s.done
	}
	return nil
}

// killInside kills every process in the namespace. This process is not in it.
func (e *Env) killInside() { guard.Kill(e.thread.FD()) }

// guarded makes all processes in the namespace die with the Env and with this process, once.
func (e *Env) guarded() error {
	e.killsMu.Lock()
	defer e.killsMu.Unlock()
	if e.kills {
		return nil
	}
	var forget func()
	err := e.do(func() (err error) {
		forget, err = guard.Watch(e.thread.File())
		return err
	})
	if err != nil {
		return err
	}
	e.kills = true
	e.onClose(closerFunc(func() error { // also kills processes left behind by programs that have ended
		e.killInside()
		forget()
		return nil
	}))
	return nil
}
