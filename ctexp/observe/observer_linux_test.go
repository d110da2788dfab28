package observe_test

import (
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

// Iterators that run while the Observer is closed end in os.ErrClosed, and nothing hangs.
func TestCloseEndsReaders(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{})
	x.sendSYNs(20, web)

	var started, done sync.WaitGroup
	results := make(chan error, 4)
	read := func(once func() error) {
		started.Add(1)
		done.Go(func() {
			err := once()
			started.Done()
			for err == nil {
				err = once()
			}
			results <- err
		})
	}
	read(func() error { _, err := x.o.Tally(t.Context()); return err })
	read(func() error { return lastError(x.o.Frames(t.Context())) })
	read(func() error { return lastError(x.o.Flows(t.Context(), nf.Filter{})) })
	read(func() error { _, err := x.o.Rules(t.Context()); return err })
	started.Wait()
	if err := x.o.Close(); err != nil {
		t.Error(err)
	}
	done.Wait()
	close(results)
	for err := range results {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("want os.ErrClosed, got %v", err)
		}
	}
}

// An iteration may close its own Observer.
func TestCloseWithinAnIteration(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{})
	x.sendSYNs(20, web)
	frames := 0
	var last error
	for _, err := range x.o.Frames(t.Context()) {
		frames++
		last = err
		if err := x.o.Close(); err != nil {
			t.Error(err)
		}
	}
	if frames != 2 || !errors.Is(last, os.ErrClosed) {
		t.Errorf("got %d frames, then %v", frames, last)
	}
}

// A failed Open leaves no open file descriptors.
func TestFailedOpenLeavesNothingBehind(t *testing.T) {
	// Not parallel: other tests open files as well.
	x := open(t, netnsenv.Config{})
	before := descriptors(t)
	for range 20 {
		if o, err := observe.Open(t.Context(), x.env, observe.Config{Limit: 1}); err == nil {
			o.Close()
			t.Fatal("the limit is not 1")
		}
	}
	x.await("all descriptors are closed", func() bool { return len(descriptors(t)) <= len(before) })
}

// descriptors returns the open sockets and files in /proc.
func descriptors(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var open []string
	for _, e := range entries {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && (strings.HasPrefix(to, "socket:") || strings.Contains(to, "nf_conntrack")) {
			open = append(open, to)
		}
	}
	return open
}

func BenchmarkOpenClose(b *testing.B) {
	x := open(b, netnsenv.Config{Probes: []nf.Probe{nf.RawPrerouting, nf.ManglePrerouting}})
	for _, c := range []struct {
		name   string
		change func(*observe.Config)
	}{
		{"default", func(*observe.Config) {}},
		{"no frames", func(c *observe.Config) { c.NoFrames = true }},
		{"ring of 8 MiB", func(c *observe.Config) { c.Ring = 8 << 20 }},
	} {
		b.Run(c.name, func(b *testing.B) {
			cfg := configOf(x.env)
			c.change(&cfg)
			for b.Loop() {
				o, err := observe.Open(b.Context(), x.env, cfg)
				if err != nil {
					b.Fatal(err)
				}
				if err := o.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestCheckLinksNamesTheMissingOne(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{})
	if err := x.o.CheckLinks(t.Context(), "", "tun0", "lo"); err != nil {
		t.Errorf("links that are there: %v", err)
	}
	if err := x.o.CheckLinks(t.Context(), "tun0", "tun9"); !errors.Is(err, observe.ErrNoLink) || !strings.Contains(err.Error(), "tun9") {
		t.Errorf("got %v, want %v with its name", err, observe.ErrNoLink)
	}
}
