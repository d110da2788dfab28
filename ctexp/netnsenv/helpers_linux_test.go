package netnsenv_test

import (
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/jsimonetti/rtnetlink/v2"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

func endGoroutine() { runtime.Goexit() }

func lockForever() { runtime.LockOSThread() }

// await waits until cond holds.
func await(t *testing.T, cond func() bool) {
	t.Helper()
	deadline := time.After(time.Until(latest(t)))
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it did not come true")
		}
	}
}

// latest returns until when a test may wait for something: shortly before its deadline, or, if it has none, a day.
func latest(t testing.TB) time.Time {
	if d, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		if at, ok := d.Deadline(); ok {
			return time.Now().Add(time.Until(at) * 9 / 10)
		}
	}
	return time.Now().Add(24 * time.Hour)
}

// unwrapAll returns the innermost error.
func unwrapAll(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// setDown sets an interface down.
func setDown(t *testing.T, e *netnsenv.Env, name string) {
	t.Helper()
	err := e.Do(func() error {
		c, err := rtnetlink.Dial(nil)
		if err != nil {
			return err
		}
		defer c.Close()
		links, err := c.Link.List()
		if err != nil {
			return err
		}
		for _, l := range links {
			if l.Attributes.Name == name {
				return c.Link.Set(&rtnetlink.LinkMessage{Index: l.Index, Change: unix.IFF_UP})
			}
		}
		return os.ErrNotExist
	})
	if err != nil {
		t.Fatal(err)
	}
}
