package netnsenv_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

// programs are what the test binary also is; see TestProgramIsInsideAsAWhole.
var programs = map[string]func(){
	"where": func() {
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				runtime.LockOSThread() // so that each has its own thread
				ns, err := os.Readlink("/proc/thread-self/ns/net")
				fmt.Println(os.Args, ns, err)
			})
		}
		wg.Wait()
	},
	"seven": func() { os.Exit(7) },
}

// A daemon blocks on its own thread, so that the namespace can be used beside it, until Close ends it.
func TestGoRunsADaemonUntilClose(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	listening, ended := make(chan string, 1), false
	e.Go(t.Context(), func(ctx context.Context) error {
		defer func() { ended = true }()
		l, err := net.Listen("tcp", "192.0.2.1:0")
		if err != nil {
			return err
		}
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })}
		context.AfterFunc(ctx, func() { s.Close() })
		listening <- l.Addr().String()
		return s.Serve(l) // its goroutines accept connections
	})
	client := http.Client{Transport: &http.Transport{DialContext: e.Dial}}
	r, err := client.Get("http://" + <-listening)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if got, err := io.ReadAll(r.Body); string(got) != "hello" || err != nil {
		t.Errorf("the daemon answered %q, %v", got, err)
	}
	if err := e.Do(func() error { return nil }); err != nil {
		t.Errorf("Do beside the daemon: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if !ended {
		t.Error("the daemon still ran after Close")
	}
}

func TestGoReportsErrors(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	failed := errors.New("it failed")
	fail := func(context.Context) error { return failed }
	if err := e.Go(t.Context(), fail)(); err != failed {
		t.Errorf("wait: %v, want the error of the function", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	until := e.Go(ctx, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	cancel()
	if err := until(); !errors.Is(err, context.Canceled) {
		t.Errorf("wait: %v, want the end of the context", err)
	}

	if err := e.Go(t.Context(), func(context.Context) error { runtime.Goexit(); return nil })(); err == nil {
		t.Error("wait: nil for a function that has ended its goroutine")
	}

	looks := make(chan struct{}, 2) // before and after
	_, cancelLooks := e.OnChange(func() { looks <- struct{}{} })
	defer cancelLooks()
	e.Go(t.Context(), fail)
	<-looks
	<-looks
	if err := e.Close(); !errors.Is(err, failed) {
		t.Errorf("close: %v, want the error for which nobody has waited", err)
	}
	if err := e.Go(t.Context(), fail)(); err != netnsenv.ErrClosed {
		t.Errorf("after Close: %v, want ErrClosed", err)
	}
}

// What a goroutine opens is in the base namespace, unless it uses the Env.
func TestGoroutinesOfGoAreInTheBase(t *testing.T) {
	t.Parallel()
	hasBase(t)
	e := open(t, netnsenv.Config{})
	base, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	var there, goroutine, again string
	wait := e.Go(t.Context(), func(ctx context.Context) error {
		there = networkOf(t)
		done := make(chan error)
		go func() {
			goroutine = networkOf(t)
			done <- e.Go(ctx, func(context.Context) error { again = networkOf(t); return nil })()
		}()
		return <-done
	})
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	inside := netOf(t, e)
	if got, want := [3]string{there, goroutine, again}, [3]string{inside, base, inside}; got != want {
		t.Errorf("Go, its goroutine and Go there ran in %v, want %v", got, want)
	}
}

// Every thread of a program is in the namespace.
func TestProgramIsInsideAsAWhole(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	out, err := e.Program(t.Context(), "where", "-x", "y z").Output()
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSpace(string(out)), "\n")
	want := slices.Repeat([]string{fmt.Sprintf("[where -x y z] %s <nil>", netOf(t, e))}, 10)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := e.Program(t.Context(), "seven").Run(); err == nil || err.Error() != "exit status 7" {
		t.Errorf("a program that fails: %v", err)
	}
	if _, err := e.Program(t.Context(), "none").Output(); err == nil || !strings.Contains(err.Error(), `no program "none" in Entry.Programs, which has: seven, where`) {
		t.Errorf("a program that is none: %v", err)
	}
}
