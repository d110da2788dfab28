package netnsenv_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

// What a program has left in the background dies with the Env as well, whoever has waited for the program.
func TestBackgroundProcessesDieWithTheEnv(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	c := e.Command(t.Context(), "sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo $!")
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	waited := make(chan struct{})
	server := e.Command(t.Context(), "sleep", "1000")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Wait(); close(waited) }() // while Close kills it
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	<-waited
	await(t, func() bool { // a moment may pass until init has collected it
		st, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(st), ") Z ")
	})
}

// A server and a client of package net meet inside; neither is to be seen from outside.
func TestSocketsBelongInside(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	l, err := e.Listen(t.Context(), "tcp", "192.0.2.1:80")
	if err != nil {
		t.Fatal(err)
	}
	c, err := e.Dial(t.Context(), "tcp", "192.0.2.1:80")
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if got, err := io.ReadAll(s); string(got) != "hello" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if n := count(t, e); n != 1 {
		t.Errorf("%d entries, want 1", n)
	}
}

func TestPacketSocketsBelongInside(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	p, err := e.ListenPacket(t.Context(), "udp", "192.0.2.1:53")
	if err != nil {
		t.Fatal(err)
	}
	c, err := e.Dial(t.Context(), "udp", "192.0.2.1:53")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 9)
	if n, _, err := p.ReadFrom(buf); string(buf[:n]) != "hello" || err != nil {
		t.Errorf("got %q, %v", buf[:n], err)
	}
}

func TestNamesAreNotResolved(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	if _, err := e.Dial(t.Context(), "tcp", "localhost:80"); err == nil || !strings.Contains(err.Error(), "literal") {
		t.Errorf("got %v", err)
	}
}

func TestCommandsRunInsideAndDieWithTheEnv(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	out, err := e.Command(t.Context(), "readlink", "/proc/self/ns/net").Output()
	if held, herr := e.Command(t.Context(), "readlink", e.Path()).CombinedOutput(); err != nil || herr != nil || string(out) != string(held) {
		t.Errorf("it ran in %q, %v; the Env is %q, %v", out, err, held, herr)
	}
	c := e.Command(t.Context(), "cat")
	r, w := io.Pipe() // input that never comes
	defer w.Close()
	c.Stdin = r
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(c.Process.Pid, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("the program is still there: %v", err)
	}
	if _, err := e.Command(t.Context(), "false").Output(); !errors.Is(err, netnsenv.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
