// Package entertest tests how a process enters namespaces of its own: from a process that has not, as the tests of
// netnsenv themselves have.
package entertest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/internal/needs"
)

func TestMain(m *testing.M) {
	if mode := os.Getenv("CTEXP_TEST_CHILD"); mode != "" {
		child(mode)
	}
	os.Exit(m.Run()) // without entering: that is what the children do
}

// child is what this binary does when a test executes it again; it does not return.
func child(mode string) {
	switch mode {
	case "file":
		r, err := os.Open("/proc/version")
		if err != nil {
			panic(err)
		}
		netnsenv.EnterWith(netnsenv.Entry{Files: []*os.File{r}})
		_, err = io.Copy(os.Stdout, os.NewFile(3, "handed down"))
		fmt.Println(err)
		os.Exit(0)
	case "like":
		netnsenv.EnterWith(netnsenv.Entry{Like: []string{ownNetwork}})
		likeChild()
	case "host's network":
		netnsenv.EnterWith(netnsenv.Entry{HostNetwork: true})
		hostNetworkChild()
	}
	netnsenv.Enter()
	netnsenv.Enter() // again: nothing happens
	switch mode {
	case "probe":
		e, err := netnsenv.Open(context.Background(), netnsenv.Config{})
		if err == nil {
			e.Close()
		} else {
			fmt.Print(err)
		}
		os.Exit(map[bool]int{false: 0, true: cannot}[errors.Is(err, errors.ErrUnsupported)])
	case "hold":
		holdChild()
	case "status":
		os.Exit(3)
	case "killed":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "echo":
		_, _ = io.Copy(os.Stdout, os.Stdin)
		fmt.Printf("uid %d args %q", os.Getuid(), os.Args[1:])
		os.Exit(0)
	case "signal":
		ch := make(chan os.Signal, 1)
		signal.Notify(ch, syscall.SIGTERM)
		fmt.Println("ready")
		fmt.Println(<-ch)
		os.Exit(0)
	case "stay":
		e, err := netnsenv.Open(context.Background(), netnsenv.Config{})
		if err == nil {
			c := e.Command(context.Background(), "cat") // waits for input that never comes
			c.Stdin, _ = io.Pipe()
			c.Stdout = os.Stdout // holds the test's pipe open as long as it lives
			err = c.Start()
		}
		if err == nil {
			c := e.Command(context.Background(), "sh", "-c", "setsid sleep 1000 &") // in the background, holds the pipe as well
			c.Stdout = os.Stdout
			err = c.Run()
		}
		fmt.Println("ready", err, os.Getpid())
		select {}
	}
	os.Exit(99)
}

// cannot is the exit status of a child that can open no Env here.
const cannot = 77

// namespaces skips the test where this machine gives no namespaces of one's own.
func namespaces(t *testing.T) {
	t.Helper()
	out, err := again(t, "probe").Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != cannot {
		return // whatever it is, the test will tell
	}
	if needs.Required("user namespaces") {
		t.Fatalf("%s=1: %s", needs.Require, out)
	}
	t.Skipf("%s", out)
}

// again executes this binary as a child that enters and then does what mode says.
func again(t *testing.T, mode string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "a b", "-c")
	cmd.Env = append(os.Environ(), "CTEXP_TEST_CHILD="+mode)
	cmd.Stderr = os.Stderr
	return cmd
}

func TestExitStatusPassesThrough(t *testing.T) {
	t.Parallel()
	err := again(t, "status").Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("status: %v, want 3", err)
	}
}

func TestDeathBySignalPassesThrough(t *testing.T) {
	t.Parallel()
	err := again(t, "killed").Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("status: %v, want killed", err)
	}
}

func TestInputAndArgumentsPassThrough(t *testing.T) {
	t.Parallel()
	namespaces(t)
	cmd := again(t, "echo")
	cmd.Stdin = strings.NewReader("hello ")
	out, err := cmd.Output()
	if want := `hello uid 0 args ["a b" "-c"]`; err != nil || string(out) != want {
		t.Errorf("got %q, %v; want %q", out, err, want)
	}
}

func TestSignalsAreHandedOn(t *testing.T) {
	t.Parallel()
	cmd := again(t, "signal")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	if line, err := r.ReadString('\n'); line != "ready\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(r)
	if err := cmd.Wait(); err != nil || string(rest) != "terminated\n" {
		t.Errorf("got %q, %v; want the signal's name", rest, err)
	}
}

// Killing the first process ends the second and the programs in its Envs, also those in the background: the pipe that all of
// them hold is closed. The same if the second is killed.
func TestNothingSurvivesAKill(t *testing.T) {
	t.Parallel()
	namespaces(t)
	for name, victim := range map[string]func(first, second int) int{
		"the first process":  func(first, _ int) int { return first },
		"the second process": func(_, second int) int { return second },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := again(t, "stay")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			r := bufio.NewReader(out)
			var second int
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Sscanf(line, "ready <nil> %d", &second); err != nil {
				t.Fatalf("got %q: %v", line, err)
			}
			if err := syscall.Kill(victim(cmd.Process.Pid, second), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
				t.Errorf("got %q, %v", rest, err)
			}
			_ = cmd.Wait() // killed, as it should be
		})
	}
}

func TestFilesAreHandedDown(t *testing.T) {
	t.Parallel()
	namespaces(t)
	out, err := again(t, "file").Output()
	if err != nil || !strings.HasPrefix(string(out), "Linux version") || !strings.HasSuffix(string(out), "<nil>\n") {
		t.Errorf("got %q, %v", out, err)
	}
}

// A process that has not entered is told what to add. It must not look like a missing ability, for root neither.
func TestWhoForgotToEnterIsTold(t *testing.T) {
	t.Parallel()
	unentered(t)
	_, err := netnsenv.Open(t.Context(), netnsenv.Config{})
	if !errors.Is(err, netnsenv.ErrNotEntered) || errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
	for _, want := range []string{"ctexp.Main(m)", "netnsenv.Enter()", "go test -exec 'unshare -Urnm'"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to contain %q", err, want)
		}
	}
}
