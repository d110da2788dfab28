package ctexp_test

import (
	"errors"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// The first test of the README is never red, whatever the kernel's dice say, and no law is ever broken.
// CTEXP_TRIES=1000 runs it as often, four at once.
func TestFullTableIsNeverRedByLuck(t *testing.T) {
	t.Parallel()
	tries := 4
	if n, err := strconv.Atoi(os.Getenv("CTEXP_TRIES")); err == nil {
		tries = n
	}
	const atOnce = 4
	var mu sync.Mutex
	var evicted, collected uint64
	next := make(chan int)
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for i := range next {
				tally := fullTable(t)
				mu.Lock()
				evicted += tally.Evicted
				collected += tally.Collected
				mu.Unlock()
				if i%100 == 99 {
					t.Logf("%d tries, evicted %d, collected %d", i+1, evicted, collected)
				}
			}
		})
	}
	for i := range tries {
		next <- i
	}
	close(next)
	wg.Wait()
	t.Logf("%d tries: early_drop evicted %d entries, the garbage collector took %d", tries, evicted, collected)
}

func fullTable(t *testing.T) observe.Tally {
	lab, err := ctexp.Open(t.Context(), netnsenv.Config{
		Room: netnsenv.Free(7), Silent: true, Probes: []nf.Probe{nf.RawPrerouting, nf.ManglePrerouting},
	})
	if errors.Is(err, errors.ErrUnsupported) {
		return observe.Tally{} // the other tests skip and say why
	}
	if err != nil {
		t.Error(err)
		return observe.Tally{}
	}
	defer lab.Close()
	if _, err := lab.Inject(t.Context(), packet.SYNs(10, web)); err != nil {
		t.Error(err)
	}
	got, err := lab.Observer.Tally(t.Context())
	if err != nil {
		t.Error(err)
	}
	want := observe.Tally{
		Packets: map[string]uint64{"raw/prerouting": 10, "mangle/prerouting": 7}, Entries: 7, Dropped: 3,
	}
	if diff := got.Diff(want); diff != "" {
		t.Errorf("10 SYNs into a table with room for 7 (-want +got):\n%s\n%s", diff, lab.Report(t.Context()))
	}
	if err := got.Check(); err != nil && !(errors.Is(err, observe.ErrLawNotApplicable) && got.Collected > 0) {
		t.Errorf("laws: %v (%v)", err, got)
	}
	return got
}
