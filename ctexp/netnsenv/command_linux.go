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
)

// Cmd is an exec.Cmd whose program runs in the namespace and dies with the Env. Set its fields before Start, which
// Run, Output and CombinedOutput call; in SysProcAttr the fields Pdeathsig and Setpgid are ours.
type Cmd struct {
	*exec.Cmd
	env    *Env
	once   sync.Once
	err    error
	forget func() // takes back what the Env does with the program at its end
}

// Command returns a command to run in the namespace. When the Env is closed, or this process killed, the kernel
// kills the program; Close also kills whatever it has started, if that is still in the namespace.
func (e *Env) Command(ctx context.Context, name string, args ...string) *Cmd {
	return &Cmd{Cmd: exec.CommandContext(ctx, name, args...), env: e}
}

// Start starts the program and does not wait for it; Wait does.
func (c *Cmd) Start() error {
	if c.SysProcAttr == nil {
		c.SysProcAttr = &syscall.SysProcAttr{}
	}
	// The signal comes when the thread ends that has started the program: the Env's own.
	c.SysProcAttr.Pdeathsig = unix.SIGKILL
	c.SysProcAttr.Setpgid = true
	if err := c.env.Do(c.Cmd.Start); err != nil {
		return err
	}
	c.env.kills.Do(func() { // also what programs have left behind that have ended
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

// Output runs the program and returns what it wrote to its standard output; an *exec.ExitError has the rest.
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

// kill ends the program, and whatever else was started in the namespace on its account, and collects the program.
func (c *Cmd) kill() error {
	_ = c.Process.Kill() // it may have ended already
	c.env.killInside()
	_ = c.Wait() // killed, mostly: no news
	return nil
}

// killInside kills every process that is in the namespace, also those whose parents have ended. This process is in none
// of its Envs itself: a process counts by its main thread.
func (e *Env) killInside() {
	inside, err := os.Stat(fmt.Sprintf("/proc/self/fd/%d", e.thread.FD()))
	if err != nil {
		return
	}
	const passes = 10 // a process may start another while we look
	for range passes {
		found := false
		processes, _ := filepath.Glob("/proc/[0-9]*/ns/net")
		for _, p := range processes {
			st, err := os.Stat(p) // of others' processes we learn nothing
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
