package netnsenv

import (
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
