package netnsenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/internal/plain"
)

// Cmd is an exec.Cmd whose program runs in the namespace and is killed with the Env. Set its fields before Start, Run,
// Output or CombinedOutput. The fields Pdeathsig and Setpgid of SysProcAttr are overwritten.
type Cmd struct {
	*exec.Cmd
	env     *Env
	program string // of Entry.Programs
	once    sync.Once
	err     error
	forget  func() // removes the program from what the Env closes
	looked  func() // tells Observers that the program has ended
}

// Command returns a command to run in the namespace. The kernel kills the program if the Env is closed or this process
// is killed. Close also kills the processes that the program has started, if they are still in the namespace.
func (e *Env) Command(ctx context.Context, name string, args ...string) *Cmd {
	return &Cmd{Cmd: exec.CommandContext(ctx, name, args...), env: e}
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
	looked := c.env.acts()
	if err := c.env.do(c.Cmd.Start); err != nil {
		return err
	}
	c.looked = looked
	c.env.kills.Do(func() { // also kills processes left behind by programs that have ended
		c.env.onClose(closerFunc(func() error { c.env.killInside(); return nil }))
	})
	c.forget = c.env.onClose(closerFunc(c.kill))
	return nil
}

// Wait waits for the program to end, as exec.Cmd does. It may be called more than once.
func (c *Cmd) Wait() error {
	c.once.Do(func() {
		if c.err = c.Cmd.Wait(); c.forget != nil {
			c.forget()
			c.looked()
		}
	})
	return c.err
}

// Run starts the program and waits for it.
func (c *Cmd) Run() error {
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
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.Bytes(), err
}

// kill kills the program and all other processes in the namespace, and waits for the program.
func (c *Cmd) kill() error {
	_ = c.Process.Kill() // it may have ended already
	c.env.killInside()
	_ = c.Wait() // an error is expected: the program was killed
	return nil
}

// killInside kills every process in the namespace, including those whose parents have ended. This process is not in the
// namespace: /proc/<pid>/ns/net shows that of the main thread.
func (e *Env) killInside() {
	inside, err := os.Stat(fmt.Sprintf("/proc/self/fd/%d", e.thread.FD()))
	if err != nil {
		return
	}
	const passes = 10 // a process may start another during a pass
	for range passes {
		found := false
		processes, _ := filepath.Glob("/proc/[0-9]*/ns/net")
		for _, p := range processes {
			st, err := os.Stat(p) // fails for processes of other users
			if err != nil || !os.SameFile(st, inside) {
				continue
			}
			if pid, err := strconv.Atoi(strings.Split(p, "/")[2]); err == nil {
				found = unix.Kill(pid, unix.SIGKILL) == nil || found
			}
		}
		if !found {
			return
		}
	}
}
