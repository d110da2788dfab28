package netnsenv_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
)

func TestDoRunsInside(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	var inside string
	err := e.Do(func() error {
		return e.Do(func() (err error) { // within itself as well
			inside, err = os.Readlink("/proc/thread-self/ns/net")
			return err
		})
	})
	outside, oerr := os.Readlink("/proc/thread-self/ns/net")
	held, herr := os.Readlink(e.Path())
	if err := errors.Join(err, oerr, herr); err != nil {
		t.Fatal(err)
	}
	if inside == outside || inside != held {
		t.Errorf("inside %q, outside %q, held %q: want the first and the last alone to agree", inside, outside, held)
	}
}

func TestDoReturnsErrorsAndPanics(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	if err := e.Do(func() error { return os.ErrProcessDone }); err != os.ErrProcessDone {
		t.Errorf("got %v", err)
	}
	func() {
		defer func() {
			if r := recover(); r != "boom" {
				t.Errorf("recovered %v", r)
			}
		}()
		_ = e.Do(func() error { panic("boom") })
		t.Error("the panic did not go on")
	}()
	if err := e.Do(func() error { return nil }); err != nil {
		t.Errorf("after a panic: %v", err)
	}
}

func TestDoSurvivesFatal(t *testing.T) {
	t.Parallel()
	e, err := netnsenv.Open(t.Context(), netnsenv.Config{})
	needs.Check(t, err)
	if err := e.Do(func() error { endGoroutine(); return nil }); err == nil || !strings.Contains(err.Error(), "Goexit") {
		t.Errorf("got %v", err)
	}
	if err := e.Do(func() error { return nil }); !errors.Is(err, netnsenv.ErrClosed) {
		t.Errorf("afterwards: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

func TestClosedEnvReturnsErrClosed(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	for range 2 {
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, lerr := e.Listen(t.Context(), "tcp", ":80")
	_, derr := e.Dial(t.Context(), "udp", "192.0.2.1:80")
	_, serr := e.Sysctl("net.ipv4.ip_forward")
	_, cerr := e.Table().Count()
	_, nerr := e.NFTables()
	_, werr := e.Links()[0].Write(packet.SYN(web))
	for what, err := range map[string]error{
		"Do": e.Do(func() error { return nil }), "Listen": lerr, "Dial": derr, "Sysctl": serr, "Count": cerr, "NFTables": nerr,
		"Write": werr, "Create": e.Table().Create(entry(1)),
		"Command": e.Command(t.Context(), "true").Run(),
		"Load":    netnsenv.NFT("table ip t { chain c { iifname \"tun0\" accept; }; }").Load(t.Context(), e),
	} {
		if !errors.Is(err, netnsenv.ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if e.FD() != -1 || e.Path() != "" {
		t.Errorf("FD %d, path %q", e.FD(), e.Path())
	}
}

// A panic in the user's code is passed on, and everything opened before is closed.
func TestPanickingRulesLeaveNothing(t *testing.T) { // not parallel: it counts the descriptors of the process
	needs.Check(t, checkOpen(t))
	before := descriptors(t)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not go on")
			}
		}()
		_, _ = netnsenv.Open(t.Context(), netnsenv.Config{Rules: []netnsenv.Ruleset{netnsenv.NFTables(func(*nftables.Conn) error { panic("boom") })}})
	}()
	await(t, func() bool { return descriptors(t) <= before+2 })
}

func TestExpiredContextOpensNothing(t *testing.T) {
	t.Parallel()
	needs.Check(t, checkOpen(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := netnsenv.Open(ctx, netnsenv.Config{Room: netnsenv.Free(7)}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// Nothing stays open after Close, or after an Open that failed.
func TestCloseLeavesNoDescriptor(t *testing.T) { // not parallel: it counts the descriptors of the process
	needs.Check(t, checkOpen(t))
	before := descriptors(t)
	for i := range 20 {
		cfg := netnsenv.Config{Links: []netnsenv.LinkConfig{{Kind: netnsenv.Veth}}}
		if i%2 == 1 {
			cfg.Sysctls = map[string]string{"net.no.such": "1"}
		}
		e, err := netnsenv.Open(t.Context(), cfg)
		if i%2 == 1 {
			if err == nil {
				t.Fatal("want an error")
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		e.Close()
	}
	await(t, func() bool { return descriptors(t) <= before+2 }) // the slow ones close in the background
}

func TestConntrackIsOffWithoutARule(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{Silent: true, Conntrack: netnsenv.Off})
	sendSYNs(t, e, 10)
	if n := count(t, e); n != 0 {
		t.Errorf("off: %d entries after 10 SYNs", n)
	}
}

func TestSysctlsOfTheHostAreReset(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	for name, want := range map[string]string{
		"net.ipv4.ip_forward": "0", "net.ipv4.conf.tun0.rp_filter": "0", "net.netfilter.nf_conntrack_events": "1",
	} {
		if got, err := e.Sysctl(name); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
}

func TestWrongSysctlsAreNamed(t *testing.T) {
	t.Parallel()
	needs.Check(t, checkOpen(t))
	for name, want := range map[string]string{
		"net.ipv4.no_such":                 "does not exist",
		"kernel.panic":                     `begins with "net."`,
		"net.netfilter.nf_conntrack_count": "read-only",
	} {
		_, err := netnsenv.Open(t.Context(), netnsenv.Config{Sysctls: map[string]string{name: "1"}})
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

func BenchmarkOpenClose(b *testing.B) {
	for _, kind := range []netnsenv.LinkKind{netnsenv.Tun, netnsenv.Veth} {
		for _, noPath := range []bool{false, true} {
			b.Run(kind.String()+map[bool]string{false: "/path", true: "/nopath"}[noPath], func(b *testing.B) {
				cfg := netnsenv.Config{Links: []netnsenv.LinkConfig{{Kind: kind}}, NoPath: noPath}
				for b.Loop() {
					e, err := netnsenv.Open(b.Context(), cfg)
					needs.Check(b, err)
					e.Close()
				}
			})
		}
	}
}

// The minimum cost of an Env: its thread and its namespace.
func BenchmarkBareNamespace(b *testing.B) {
	needs.Check(b, func() error {
		e, err := netnsenv.Open(b.Context(), netnsenv.Config{})
		if err == nil {
			e.Close()
		}
		return err
	}())
	for b.Loop() {
		done := make(chan error)
		go func() {
			lockForever()
			done <- unix.Unshare(unix.CLONE_NEWNET)
		}()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}

// Background processes of a program are killed with the Env, even if the program has ended, whether others run or not.
func TestBackgroundProcessesDieWithTheEnv(t *testing.T) {
	t.Parallel()
	for name, others := range map[string]bool{"alone": false, "beside a server": true} {
		t.Run(name, func(t *testing.T) {
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
			if others {
				server := e.Command(t.Context(), "sleep", "1000")
				if err := server.Start(); err != nil {
					t.Fatal(err)
				}
				go func() { _ = server.Wait(); close(waited) }() // while Close kills it
			} else {
				close(waited)
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			<-waited
			await(t, func() bool { // a moment may pass until init has collected it
				st, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
				return err != nil || strings.Contains(string(st), ") Z ")
			})
		})
	}
}

// What package net cannot do inside is its error.
func TestSocketsThatCannotBeOpenedAreErrors(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	l, lerr := e.Listen(t.Context(), "tcp", "198.18.0.2:80") // not an address of the host
	p, perr := e.ListenPacket(t.Context(), "udp", "198.18.0.2:80")
	c, cerr := e.Dial(t.Context(), "udp", "[2001:db8::1]:80") // no route
	for what, err := range map[string]error{"Listen": lerr, "ListenPacket": perr, "Dial": cerr} {
		var of *net.OpError
		if !errors.As(err, &of) {
			t.Errorf("%s: %v, want an error of package net", what, err)
		}
	}
	if l != nil || p != nil || c != nil {
		t.Errorf("got %v, %v and %v", l, p, c)
	}
}

// A server and a client of package net communicate in the namespace; neither is visible from outside.
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
