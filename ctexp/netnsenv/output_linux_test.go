package netnsenv_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

// shell returns a command that runs a script.
func shell(t testing.TB, e *netnsenv.Env, script string) *netnsenv.Cmd {
	return e.Command(t.Context(), "sh", "-c", script)
}

// start starts a command.
func start(t testing.TB, c *netnsenv.Cmd) *netnsenv.Cmd {
	t.Helper()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// said returns the recorded output without the names of programs.
func said(e *netnsenv.Env) (lines []string) {
	for _, s := range e.Output() {
		_, line, _ := strings.Cut(s, ": ")
		lines = append(lines, line)
	}
	return lines
}

const threeLines = `echo one; echo two >&2; printf three; exit 3`

func TestOutputOfProgramsIsRecorded(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	c := start(t, shell(t, e, threeLines))
	if err := c.Wait(); err == nil || err.Error() != "exit status 3" {
		t.Errorf("wait: %v", err)
	}
	if got, want := said(e), []string{"one", "two", "three", "exit status 3"}; !slices.Equal(got, want) {
		t.Errorf("output %q, want %q", got, want)
	}
	for _, s := range e.Output() {
		if want := fmt.Sprintf("sh[%d]: ", c.Process.Pid); !strings.HasPrefix(s, want) {
			t.Errorf("line %q, want it to begin with %q", s, want)
		}
	}
}

// Who sets a Writer, or reads from a pipe, gets what exec.Cmd gives, and the same is recorded.
func TestOutputGoesToWritersAndPipesAsWell(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		prepare func(c *netnsenv.Cmd, stdout, stderr *bytes.Buffer) (pipe io.Reader)
		want    [2]string
	}{
		"one writer":  {func(c *netnsenv.Cmd, out, _ *bytes.Buffer) io.Reader { c.Stdout, c.Stderr = out, out; return nil }, [2]string{"one\ntwo\nthree", ""}},
		"two writers": {func(c *netnsenv.Cmd, out, err *bytes.Buffer) io.Reader { c.Stdout, c.Stderr = out, err; return nil }, [2]string{"one\nthree", "two\n"}},
		"a pipe": {func(c *netnsenv.Cmd, _, err *bytes.Buffer) io.Reader {
			c.Stderr = err
			r, perr := c.StdoutPipe()
			if perr != nil {
				t.Error(perr)
			}
			return r
		}, [2]string{"one\nthree", "two\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := open(t, netnsenv.Config{})
			c := shell(t, e, threeLines)
			var stdout, stderr bytes.Buffer
			pipe := test.prepare(c, &stdout, &stderr)
			start(t, c)
			if pipe != nil {
				if _, err := stdout.ReadFrom(pipe); err != nil {
					t.Error(err)
				}
			}
			var exit *exec.ExitError
			if err := c.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
				t.Errorf("wait: %v", err)
			}
			if got := [2]string{stdout.String(), stderr.String()}; got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			got, want := said(e), []string{"exit status 3", "one", "three", "two"}
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("output %q, want %q in any order", got, want)
			}
		})
	}
}

// A program that leaves another one behind, which holds its output open, has ended all the same.
func TestWaitIsForTheProgramAlone(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	if err := shell(t, e, "sleep 1000 & echo started").Run(); err != nil {
		t.Error(err)
	}
	if got := said(e); !slices.Equal(got, []string{"started"}) {
		t.Errorf("output %q", got)
	}
	c := shell(t, e, "sleep 1000 & echo started")
	c.Stdout, c.WaitDelay = new(bytes.Buffer), 1
	if err := c.Run(); !errors.Is(err, exec.ErrWaitDelay) {
		t.Errorf("with a Writer and a WaitDelay: %v, want ErrWaitDelay", err)
	}
	in := shell(t, e, "true")
	in.Stdin, _ = io.Pipe() // nobody writes to it
	if err := in.Run(); err != nil {
		t.Errorf("with input that never ends: %v", err)
	}
}

func TestAwaitLineEndsWithTheProgram(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	c := start(t, shell(t, e, "echo ready to serve; cat"))
	for range 2 { // it finds what was written before
		if line, err := c.AwaitLine(t.Context(), "ready"); line != "ready to serve" || err != nil {
			t.Errorf("got %q, %v", line, err)
		}
	}
	if _, err := c.AwaitLine(t.Context(), "moon"); err == nil || !strings.Contains(err.Error(), "exit status 0") { // cat had no input
		t.Errorf("got %v, want the status of the program", err)
	}
	failing := start(t, shell(t, e, "echo cannot bind >&2; exit 7"))
	_, err := failing.AwaitLine(t.Context(), "ready")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 || !strings.Contains(err.Error(), "cannot bind") {
		t.Errorf("got %v, want the status and the output of the program", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	cancel(stop)
	if _, err := start(t, shell(t, e, "sleep 1000")).AwaitLine(ctx, "ready"); !errors.Is(err, stop) {
		t.Errorf("got %v, want the cause of the context", err)
	}
}

// A program that was started and has failed is an error of every wait, until somebody has called its Wait; one that was killed
// has not failed.
func TestFailedProgramEndsWaits(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	killed := start(t, e.Command(t.Context(), "sleep", "1000"))
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	c := start(t, shell(t, e, "echo no such directory; exit 5"))
	err := e.AwaitListen(t.Context(), "tcp", 80)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 5 || !strings.Contains(err.Error(), "no such directory") {
		t.Errorf("got %v, want the status and the output of the program", err)
	}
	if err := c.Wait(); err == nil {
		t.Error("wait: no error")
	}
	if err := e.Failed(); err != nil {
		t.Errorf("after Wait: %v", err)
	}
	if err := shell(t, e, "exit 6").Run(); err == nil || e.Failed() != nil {
		t.Errorf("Run, whose error is known: %v, %v", err, e.Failed())
	}
}

func TestAwaitListenWaitsForTheSocket(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	for network, listen := range map[string]func(context.Context) (io.Closer, error){
		"tcp":  func(ctx context.Context) (io.Closer, error) { return e.Listen(ctx, "tcp", "192.0.2.1:80") },
		"udp4": func(ctx context.Context) (io.Closer, error) { return e.ListenPacket(ctx, "udp", "192.0.2.1:80") },
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("stop")
		cancel(stop)
		if err := e.AwaitListen(ctx, network, 80); !errors.Is(err, stop) {
			t.Errorf("%s: got %v, want the cause of the context", network, err)
		}
		found := make(chan error)
		go func() { found <- e.AwaitListen(t.Context(), network, 80) }()
		s, err := listen(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := <-found; err != nil {
			t.Errorf("%s: %v", network, err)
		}
	}
	if err := e.AwaitListen(t.Context(), "sctp", 80); err == nil {
		t.Error("sctp: no error")
	}
}
