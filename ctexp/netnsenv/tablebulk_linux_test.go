package netnsenv_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// entries are n that differ in their source port, from 1 on.
func entries(n int) iter.Seq[nf.Entry] {
	return func(yield func(nf.Entry) bool) {
		for i := range n {
			if !yield(entry(uint16(1 + i))) {
				return
			}
		}
	}
}

// Many entries come and go in batches, between which there is a pause.
func TestManyEntriesAreCreatedAndFlushed(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{Room: netnsenv.Free(1000)})
	pauses := 0
	pause := func() { pauses++ }
	if n, err := e.Table().CreateAll(t.Context(), entries(1000), pause); n != 1000 || err != nil || pauses != 8 {
		t.Errorf("create: %d, %v, with %d pauses; want 1000 with 8", n, err, pauses)
	}
	if n := count(t, e); n != 1000 {
		t.Errorf("%d entries are there", n)
	}
	if n, err := e.Table().FlushWith(t.Context(), nf.Filter{}, pause); n != 1000 || err != nil || pauses != 16 {
		t.Errorf("flush: %d, %v, with %d pauses in all; want 1000 with 16", n, err, pauses)
	}
	if n := count(t, e); n != 0 {
		t.Errorf("%d entries are left", n)
	}
}

// The first entry that is refused is named, and what is counted is what was created.
func TestCreateAllNamesWhatIsRefused(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	if err := e.Table().Create(entry(3)); err != nil {
		t.Fatal(err)
	}
	n, err := e.Table().CreateAll(t.Context(), entries(300), nil)
	if n != 127 || !errors.Is(err, unix.EEXIST) || !strings.Contains(err.Error(), "sport=3 ") {
		t.Errorf("%d, %v; want 127 and the entry with source port 3", n, err)
	}
	if got := count(t, e); got != 128 {
		t.Errorf("%d entries are there", got)
	}
}

func TestBulkEndsWithItsContext(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	n, err := e.Table().CreateAll(ctx, entries(1000), cancel)
	if n != 128 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d, %v; want the first 128", n, err)
	}
}

func BenchmarkCreateAllAndFlush(b *testing.B) {
	const n = 10000
	e := open(b, netnsenv.Config{})
	for b.Loop() {
		if _, err := e.Table().CreateAll(b.Context(), entries(n), nil); err != nil {
			b.Fatal(err)
		}
		if _, err := e.Table().Flush(b.Context(), nf.Filter{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "entries/s")
}
