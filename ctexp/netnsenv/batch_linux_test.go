package netnsenv_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// batch returns n SYNs, from flow number first on.
func batch(first, n int) (packets [][]byte) {
	for p := range inject.SYNs(n, web.Nth(first)) {
		packets = append(packets, p)
	}
	return packets
}

// Batches of any size, written by many at once, arrive whole, while every CPU is busy with other things and where packets
// are steered to another CPU, whose backlog has room for a thousand.
func TestBatchesArriveWhole(t *testing.T) {
	stop := keepBusy(t)
	defer stop()
	for _, kind := range kinds {
		for _, mask := range []string{"", "1"} {
			t.Run(kind.String()+"/"+mask, func(t *testing.T) {
				cfg := netnsenv.Config{Links: []netnsenv.LinkConfig{{Kind: kind}}, Silent: true, NoPath: true}
				if mask != "" {
					cfg.Sysctls = map[string]string{"net.core.rps_default_mask": mask}
				}
				e, err := netnsenv.Open(t.Context(), cfg)
				needs.Check(t, missingIfNoSysctl(err))
				defer e.Close()
				l := e.Links()[0]
				const writers, each, most = 4, 12_000, 10_000
				var wg sync.WaitGroup
				for w := range writers {
					wg.Go(func() {
						for n, size := range []int{0, 1, 64, 65, 1870, most} {
							if got, err := l.WriteBatch(batch(w*each, size)); got != size || err != nil {
								t.Errorf("batch %d: wrote %d of %d, %v", n, got, size, err)
							}
						}
					})
				}
				wg.Wait()
				if err := l.Fence(t.Context()); err != nil {
					t.Fatal(err)
				}
				arrived, err := l.Arrived()
				if arrived != writers*each || err != nil {
					t.Errorf("%d packets arrived, %v; want %d", arrived, err, writers*each)
				}
				if got := count(t, e); got != writers*most {
					t.Errorf("%d entries, want %d", got, writers*most)
				}
			})
		}
	}
}

func TestABatchEndsAtThePacketThatIsRefused(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		e := open(t, netnsenv.Config{Links: []netnsenv.LinkConfig{{Kind: kind}}, Silent: true})
		l := e.Links()[0]
		packets := batch(0, 5)
		packets[3] = make([]byte, 70_000)
		n, err := l.WriteBatch(packets)
		if n != 3 || err == nil {
			t.Errorf("%v: wrote %d, %v; want 3 and an error", kind, n, err)
		}
		if err := l.Fence(t.Context()); err != nil {
			t.Errorf("%v: %v", kind, err)
		}
		if got := count(t, e); got != 3 {
			t.Errorf("%v: %d entries, want 3", kind, got)
		}
	}
}

func TestABatchToAClosedLinkIsRefused(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		e := open(t, netnsenv.Config{Links: []netnsenv.LinkConfig{{Kind: kind}}})
		l := e.Links()[0]
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if n, err := l.WriteBatch(batch(0, 1)); n != 0 || !errors.Is(err, netnsenv.ErrClosed) {
			t.Errorf("%v: wrote %d, %v", kind, n, err)
		}
	}
}

func BenchmarkWriteBatch(b *testing.B) {
	for _, kind := range kinds {
		for _, size := range []int{1, 64} {
			b.Run(fmt.Sprint(kind, "/", size), func(b *testing.B) {
				l := open(b, netnsenv.Config{Links: []netnsenv.LinkConfig{{Kind: kind}}, Silent: true, NoPath: true}).Links()[0]
				packets := batch(0, size)
				b.ReportAllocs()
				for n := 0; n < b.N; n += size {
					if _, err := l.WriteBatch(packets); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
