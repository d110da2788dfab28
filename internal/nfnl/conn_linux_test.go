package nfnl_test

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"

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

// The kernel's count is in the reply to IPCTNL_MSG_CT_GET_STATS.
func TestQueryReturnsTheReplies(t *testing.T) {
	t.Parallel()
	env, c := open(t)
	if err := env.Table().Create(ping); err != nil {
		t.Fatal(err)
	}
	request := netlink.Message{Header: netlink.Header{Type: 1<<8 | 5}, Data: make([]byte, 4)}

	got, err := c.Query(request)

	want := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 0, 8, 0, 1, 0}, 1) // nfgenmsg, CTA_STATS_GLOBAL_ENTRIES
	if err != nil || len(got) != 1 || got[0].Header.Type != request.Header.Type || int(got[0].Header.Length) != 16+len(got[0].Data) {
		t.Fatalf("got %v, %v", got, err)
	}
	if diff := cmp.Diff(want, got[0].Data[:12]); diff != "" {
		t.Errorf("the reply begins (-want +got):\n%s", diff)
	}
	request.Data = make([]byte, 3) // not aligned
	if got, err := c.Query(request); err == nil {
		t.Errorf("a message of an impossible length: %v", got)
	}
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
