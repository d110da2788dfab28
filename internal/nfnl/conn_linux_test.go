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
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
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

// A batch is processed to its end, whatever the kernel refuses of it.
func TestBatchTellsWhatIsRefused(t *testing.T) {
	t.Parallel()
	env, c := open(t)
	other := ping
	other.Orig.ICMP.ID, other.Reply.ICMP.ID = 8, 8
	var b nfnl.Batch
	for _, e := range []nf.Entry{ping, ping, other, other} {
		b.Add(func(b []byte) []byte { return nfnl.AppendCreate(b, e) })
	}
	var refused []int
	refuse := func(i int, err unix.Errno) error { refused = append(refused, i); return err }

	err := c.Send(&b, refuse)

	if diff := cmp.Diff([]int{1, 3}, refused); diff != "" || !errors.Is(err, fs.ErrExist) || b.Len() != 4 {
		t.Errorf("%v, refused of %d (-want +got):\n%s", err, b.Len(), diff)
	}
	for _, e := range []nf.Entry{ping, other} {
		if _, err := c.Get(e.Orig, 0); err != nil {
			t.Error(err)
		}
	}
	if b.Reset(); b.Len() != 0 || c.Send(&b, refuse) != nil || len(refused) != 2 {
		t.Errorf("after Reset there are %d requests, refused: %d", b.Len(), refused)
	}
	b.Add(func(b []byte) []byte { return nfnl.AppendDelete(b, ping) })
	if err := c.Send(&b, refuse); err != nil {
		t.Error(err)
	}
	if n, err := env.Table().Count(); n != 1 || err != nil {
		t.Errorf("%d entries, %v; want 1", n, err)
	}
}

// A list has room behind a short answer, and the copy of a batch does what the batch does.
func TestAnswersGrow(t *testing.T) {
	t.Parallel()
	env, c := open(t)
	var create nfnl.Batch
	const entries = 200 // more than 8 KiB
	for i := range entries {
		e := ping
		e.Orig.ICMP.ID, e.Reply.ICMP.ID = uint16(i+1), uint16(i+1)
		create.Add(func(b []byte) []byte { return nfnl.AppendCreate(b, e) })
	}
	again := create.Clone()
	refused := 0
	for _, b := range []*nfnl.Batch{&create, again} {
		if err := c.Send(b, func(_ int, err unix.Errno) error {
			if err == unix.EEXIST {
				refused++
				return nil
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Do(nfnl.AppendCount(nil)); err != nil {
		t.Error(err)
	}
	listed := 0
	err := c.Dump(nfnl.DumpEntries(nf.Filter{}, false), func([]byte, int) error { listed++; return nil })

	if n, cerr := env.Table().Count(); refused != entries || listed != entries || n != entries || err != nil || cerr != nil {
		t.Errorf("%d refused, %d listed, %d counted, %v, %v; want %d each", refused, listed, n, err, cerr, entries)
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
