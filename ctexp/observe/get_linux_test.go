package observe_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func TestGetFindsAnEntryByEitherTuple(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	x.send(inject.SYN(web))
	const want = "tcp SYN_SENT src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10000"
	tuple := web.Tuple(nf.TCP)
	for _, tuple := range []nf.Tuple{tuple, tuple.Reverse()} {
		e, err := x.o.Get(t.Context(), tuple, 0)
		if err != nil || e.String() != want || e.Timeout < time.Minute || e.ID == 0 || !e.Status.Has(nf.Confirmed) {
			t.Errorf("got %v, timeout %v, id %d, %v", e, e.Timeout, e.ID, err)
		}
	}
	for name, err := range map[string]error{
		"another tuple":     getError(x, inject.SYN(web.Nth(1)).Tuple(), 0),
		"another zone":      getError(x, tuple, 1),
		"the filler's zone": getError(x, tuple, 65535),
	} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func getError(x lab, t nf.Tuple, zone uint16) error {
	_, err := x.o.Get(x.Context(), t, zone)
	return err
}

// A zone of one direction alone is where the tuple of that direction is found.
func TestGetInAZoneOfOneDirection(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	orig := web.Tuple(nf.TCP)
	if err := x.env.Table().Create(entry(web, func(e *nf.Entry) { e.Zone, e.ZoneDir = 5, nf.Original })); err != nil {
		t.Fatal(err)
	}
	for _, in := range []struct {
		tuple nf.Tuple
		zone  uint16
	}{{orig, 5}, {orig.Reverse(), 0}} {
		e, err := x.o.Get(t.Context(), in.tuple, in.zone)
		if err != nil || e.Zone != 5 || e.ZoneDir != nf.Original {
			t.Errorf("%v in zone %d: %v, %v", in.tuple, in.zone, e, err)
		}
	}
	if err := getError(x, orig, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the original tuple in zone 0: %v", err)
	}
}

// With and without a filler, whether it can be evicted or not.
func TestCountLeavesOutTheFiller(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]netnsenv.Config{
		"no filler": {Silent: true},
		"filler":    {Silent: true, Room: netnsenv.Free(100)},
	} {
		x := open(t, cfg)
		x.sendSYNs(7, web)
		if n, err := x.o.Count(t.Context()); n != 7 || err != nil {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
}

func TestQuestionsAfterCloseAnswerErrClosed(t *testing.T) {
	t.Parallel()
	x := open(t, netnsenv.Config{Silent: true})
	if err := x.o.Close(); err != nil {
		t.Fatal(err)
	}
	_, statsErr := x.o.Stats(t.Context())
	_, countErr := x.o.Count(t.Context())
	for name, err := range map[string]error{
		"Get": getError(x, web.Tuple(nf.TCP), 0), "Stats": statsErr, "Count": countErr,
		"Expectations": lastError(x.o.Expectations(t.Context())), "Dying": lastError(x.o.Dying(t.Context())),
		"Unconfirmed": lastError(x.o.Unconfirmed(t.Context())), "Flows": lastError(x.o.Flows(t.Context(), nf.Filter{})),
	} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := open(t, netnsenv.Config{Silent: true}).o.Count(done); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that is done: %v", err)
	}
}

func BenchmarkGet(b *testing.B) {
	x := open(b, netnsenv.Config{Silent: true})
	x.send(inject.SYN(web))
	tuple := web.Tuple(nf.TCP)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := x.o.Get(b.Context(), tuple, 0); err != nil {
			b.Fatal(err)
		}
	}
}
