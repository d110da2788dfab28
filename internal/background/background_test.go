package background_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ctexp/go-ctexp/internal/background"
)

type closer func()

func (c closer) Close() error {
	c()
	return nil
}

// Everything is closed, and never more than 64 at once.
func TestCloseIsBounded(t *testing.T) {
	t.Parallel()
	const all, most = 500, 64
	var now, peak atomic.Int64
	var closed, filled sync.WaitGroup
	closed.Add(all)
	filled.Add(most)
	for i := range all {
		background.Close(closer(func() {
			defer closed.Done()
			n := now.Add(1)
			for p := peak.Load(); n > p && !peak.CompareAndSwap(p, n); p = peak.Load() {
			}
			if i < most { // as many as may be wait for each other
				filled.Done()
				filled.Wait()
			}
			now.Add(-1)
		}))
	}
	closed.Wait()
	if n := peak.Load(); n != most {
		t.Errorf("%d were closed at once, want %d", n, most)
	}
}
