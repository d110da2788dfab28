package netnsenv

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/internal/needs"
)

// An Env that dials, listens and executes programs many times keeps little more than the sockets that are open.
func TestClosedSocketsAreForgotten(t *testing.T) {
	t.Parallel()
	e, err := Open(t.Context(), Config{Links: []LinkConfig{{Kind: Veth}}})
	needs.Check(t, err)
	defer e.Close()
	before := e.closers.list.Len()
	kept, err := e.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := e.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		c, err := e.Dial(t.Context(), "udp", kept.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	if err := e.Command(t.Context(), "/proc/self/exe", "-test.run=^$").Run(); err != nil {
		t.Fatal(err)
	}
	if n := e.closers.list.Len() - before; n > 100 {
		t.Errorf("%d things are remembered of 2 that are open", n)
	}
	if _, err := kept.WriteTo([]byte("x"), kept.LocalAddr()); err != nil || isClosed(l.(syscall.Conn)) {
		t.Errorf("what was open is no longer: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if _, err := l.Accept(); err == nil {
		t.Error("the listener has outlived its Env")
	}
}

// A timeout is told to the second if exactly one whole number of seconds fits what was read.
func TestOnlySecond(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		low, high time.Duration // milliseconds
		want      time.Duration // seconds; 0: not one
	}{
		{119_004, 120_030, 120},
		{119_000, 120_001, 120},
		{119_000, 120_000, 0}, // neither end is included
		{119_990, 121_000, 120},
		{119_990, 121_001, 0},
	} {
		got, ok := onlySecond(c.low*time.Millisecond, c.high*time.Millisecond)
		if !ok {
			got = 0
		}
		if got != c.want*time.Second {
			t.Errorf("between %d and %d ms: %v, want %d s", c.low, c.high, got, c.want)
		}
	}
}

// A tun that cannot be attached does not leave its file open. This test is not parallel, because others open tuns.
func TestTunThatFailsIsClosed(t *testing.T) {
	e, err := Open(t.Context(), Config{})
	needs.Check(t, err)
	defer e.Close()
	open := func() (n int) {
		links, _ := filepath.Glob("/proc/self/fd/*")
		for _, l := range links {
			if to, _ := os.Readlink(l); to == "/dev/net/tun" {
				n++
			}
		}
		return n
	}
	before := open()
	d, err := openTun(e, "lo") // the name is taken
	if unsupported(err) {
		needs.Check(t, err)
	}
	if after := open(); err == nil || d != nil || after != before {
		t.Errorf("%v, %v: %d files of tuns before, %d after", d, err, before, after)
	}
}

// Who waits for the turn to fill the table can stop to wait, and says what for. This test is not parallel, because others
// fill tables.
func TestWaitingToFillEndsWithItsContext(t *testing.T) {
	e, err := Open(t.Context(), Config{})
	needs.Check(t, err)
	defer e.Close()
	done, err := filling.Take(t.Context(), "hold it")
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, errors.New("enough"))
	defer cancel()
	err = e.addFiller(ctx, 1)
	if err == nil || err.Error() != "waiting for the turn to fill the table, 1 before: enough" {
		t.Errorf("got %v", err)
	}
}

// A round in which a CPU had a backlog and processed nothing is not counted as patience.
func TestABacklogThatDoesNotMoveIsStuck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		before, now backlogs
		want        bool
	}{
		{nil, backlogs{{5, 1}}, false},
		{backlogs{{5, 0}, {7, 3}}, backlogs{{5, 0}, {7, 3}}, true},
		{backlogs{{5, 0}, {7, 3}}, backlogs{{5, 0}, {8, 3}}, false},
		{backlogs{{5, 0}, {7, 3}}, backlogs{{5, 0}, {7, 0}}, false},
	} {
		if got := c.now.stuckSince(c.before); got != c.want {
			t.Errorf("%v, then %v: %v, want %v", c.before, c.now, got, c.want)
		}
	}
	if b := readBacklogs(); b != nil && len(b) > 1<<16 {
		t.Errorf("%d CPUs", len(b))
	}
}
