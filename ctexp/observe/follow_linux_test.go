package observe_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

// keepSending injects SYNs of flows of their own until stop is called, since nobody knows when who follows has begun.
func (l lab) keepSending() (stop func()) {
	l.Helper()
	ctx, cancel := context.WithCancel(l.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; i < 50000 && ctx.Err() == nil; i++ {
			f := inject.Flow{Src: addrPort("198.18.0.9:1"), Dst: web.Dst}
			_, err := inject.New(l.env.Links()[0]).Send(ctx, inject.SYNs(1, f.Nth(i)))
			if err != nil && ctx.Err() == nil {
				l.Error(err)
			}
			l.o.Drain() // whatever the buffer, these are not lost
		}
	}()
	return sync.OnceFunc(func() {
		cancel()
		<-done
	})
}

// Follow waits for what comes, and ends with its context.
func TestFollowWaitsForEvents(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	x.sendSYNs(3, web) // before it begins
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []string
	var last error
	defer x.keepSending()()
	for e, err := range x.o.Follow(ctx) {
		if last = err; err != nil {
			break
		}
		if got = append(got, e.Short()); len(got) == 5 {
			cancel()
		}
	}
	want := []string{"NEW SYN_SENT", "NEW SYN_SENT", "NEW SYN_SENT", "NEW SYN_SENT", "NEW SYN_SENT"}
	if diff := cmp.Diff(want, got); diff != "" || !errors.Is(last, context.Canceled) {
		t.Errorf("%v (-want +got):\n%s", last, diff)
	}
}

// Who follows hears of a gap, gets the table again, and goes on.
func TestFollowGoesOnBehindAGap(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true, NoPath: true}, func(c *observe.Config) {
		c.NoFrames, c.EventBuffer = true, 8<<10
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var order []observe.EventKind
	var last error
	resynced := 0
	stop := x.keepSending()
	defer stop()
	sent := false
	for e, err := range x.o.Follow(ctx) {
		if last = err; err != nil {
			break
		}
		if !sent {
			stop()
			release := observe.HoldEvents(x.o)
			x.sendSYNs(100, web)
			release()
			x.o.Drain()
			x.send(inject.SYN(web.Nth(200)))
			sent = true
		}
		switch order = append(order, e.Kind); {
		case e.Kind == observe.EventResync:
			resynced++
		case e.Kind == observe.EventNew && slices.Contains(order, observe.EventLost):
			cancel()
		}
	}
	order = slices.Compact(order)
	want := []observe.EventKind{observe.EventNew, observe.EventLost, observe.EventResync, observe.EventNew}
	if diff := cmp.Diff(want, order); diff != "" || resynced < 102 {
		t.Errorf("resynced %d (-want +got):\n%s", resynced, diff)
	}
	if !errors.Is(last, context.Canceled) || !errors.Is(last, observe.ErrEventsLost) {
		t.Errorf("ended by %v", last)
	}
}

func TestCloseEndsFollow(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	ended := make(chan error)
	go func() { ended <- lastError(x.o.Follow(t.Context())) }()
	x.sendSYNs(3, web)
	if err := x.o.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, os.ErrClosed) {
		t.Errorf("ended by %v", err)
	}
}

// Breaking out of Follow lets go of it.
func TestFollowIsLeft(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	defer x.keepSending()()
	for _, err := range x.o.Follow(t.Context()) {
		if err != nil {
			t.Error(err)
		}
		break
	}
	if n := observe.Followers(x.o); n != 0 {
		t.Errorf("%d still follow", n)
	}
}
