package nfnl_test

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/internal/needs"
	"github.com/ctexp/go-ctexp/internal/nfnl"
)

func TestMain(m *testing.M) {
	netnsenv.Enter()
	os.Exit(m.Run())
}

// open returns a Conn in a new namespace.
func open(t testing.TB) (*netnsenv.Env, *nfnl.Conn) {
	t.Helper()
	env, err := netnsenv.Open(t.Context(), netnsenv.Config{NoPath: true})
	needs.Check(t, err)
	t.Cleanup(func() { _ = env.Close() })
	var c *nfnl.Conn
	if err := env.Do(func() (err error) { c, err = nfnl.Dial(); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return env, c
}

func TestConnIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	env, c := open(t)
	if err := env.Table().Create(ping); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 100 {
				_, err := c.Get(ping.Orig, uint16(i%2))
				if missing := errors.Is(err, fs.ErrNotExist); missing != (i%2 == 1) {
					t.Errorf("zone %d: %v", i%2, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestClosedConnReturnsErrClosed(t *testing.T) {
	t.Parallel()
	_, c := open(t)
	for range 2 {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.Get(ping.Orig, 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
}
