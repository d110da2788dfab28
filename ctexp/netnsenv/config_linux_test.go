package netnsenv_test

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// Exactly the requested number of entries fits. They are assured, because others might be evicted during the test if a
// table is full elsewhere on the machine.
func TestRoomIsExact(t *testing.T) {
	t.Parallel()
	for _, free := range []int{0, 7} {
		e := open(t, netnsenv.Config{Room: netnsenv.Free(free)})
		if r := e.Room(); r.Limit-r.Filler != free || r.Free != free {
			t.Errorf("room for %d: %+v", free, r)
		}
		if n := count(t, e); n != 0 {
			t.Errorf("room for %d: %d entries before any", free, n)
		}
		createAssured(t, e, free)
		if err := e.Table().Create(assured(free)); !errors.Is(err, unix.ENOMEM) {
			t.Errorf("room for %d: one more: %v, want ENOMEM", free, err)
		}
		if n := count(t, e); n != free {
			t.Errorf("room for %d: %d entries", free, n)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Two full tables at once: the limit is global, the count is not.
func TestRoomsDoNotDisturbEachOther(t *testing.T) {
	t.Parallel()
	cfg := netnsenv.Config{Room: netnsenv.Free(7)}
	a, b := open(t, cfg), open(t, cfg)
	createAssured(t, a, 7)
	if n := count(t, b); n != 0 {
		t.Errorf("7 entries in one Env made %d in the other", n)
	}
	createAssured(t, b, 7)
	if na, nb := count(t, a), count(t, b); na != 7 || nb != 7 {
		t.Errorf("got %d and %d entries, want 7 and 7", na, nb)
	}
}

// assured returns the i-th of a series of entries that are never evicted.
func assured(i int) nf.Entry {
	e := entry(uint16(1000 + i))
	e.Status = nf.Confirmed | nf.SeenReply | nf.Assured
	return e
}

func createAssured(t *testing.T, e *netnsenv.Env, n int) {
	t.Helper()
	for i := range n {
		if err := e.Table().Create(assured(i)); err != nil {
			t.Fatal(err)
		}
	}
}

// A table full of unreplied entries accepts every new flow in place of an old one: nothing is dropped.
func TestUnrepliedFillerMakesRoom(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{Room: netnsenv.Free(0).Unreplied(), Silent: true, Probes: []nf.Probe{nf.ManglePrerouting}})
	room := e.Room()
	o, err := observe.Open(t.Context(), e, observe.Config{
		Probes: e.Config().Probes, Filler: room.Filler, Unreplied: room.Unreplied, Free: room.Free, NoFrames: true,
	})
	needs.Check(t, err)
	defer o.Close()
	sendSYNs(t, e, 10)
	tally, err := o.Tally(t.Context())
	if errors.Is(err, observe.ErrFillerLost) { // another test's full table has woken the collector
		return
	}
	if err != nil || tally.Dropped != 0 || tally.Packets[nf.ManglePrerouting.Name] != 10 {
		t.Errorf("10 SYNs into a table full of unanswered flows: %v, %v", tally, err)
	}
}

func TestRoomBeyondTheLimitIsAnError(t *testing.T) {
	t.Parallel()
	needs.Check(t, checkOpen(t))
	_, err := netnsenv.Open(t.Context(), netnsenv.Config{Room: netnsenv.Free(1 << 30)})
	if err == nil || !strings.Contains(err.Error(), "want at most") {
		t.Errorf("got %v", err)
	}
}

func TestFlushSparesTheFiller(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{Room: netnsenv.Free(7)})
	for range 2 { // armed again by the flush
		createAssured(t, e, 7)
		n, err := e.Table().Flush(t.Context(), nf.Filter{})
		if err != nil || n != 7 {
			t.Errorf("flush: %d, %v; want 7", n, err)
		}
		if n := count(t, e); n != 0 {
			t.Errorf("%d entries after the flush", n)
		}
	}
}

// After Refill the room is that of Open, whatever was in the table and whatever part of the filler is missing.
func TestRefillMakesTheRoomAgain(t *testing.T) {
	t.Parallel()
	const free = 7
	for _, room := range []netnsenv.Room{netnsenv.Free(free), netnsenv.Free(free).Unreplied()} {
		e := open(t, netnsenv.Config{Room: room})
		for round, fixed := range []nf.Status{0, nf.FixedTimeout} {
			for i := range free {
				entry := assured(i)
				entry.Status |= fixed
				entry.Zone = uint16(i % 2)
				needs.Check(t, e.Table().Create(entry))
			}
			const lost = 3
			netnsenv.LoseFiller(t, e, round*lost, lost)

			err := e.Refill(t.Context())

			if errors.Is(err, netnsenv.ErrNotFull) && e.Room().Unreplied { // another test's full table has woken the collector
				return
			}
			needs.Check(t, err)
			if n := count(t, e); n != 0 {
				t.Errorf("%d entries are left", n)
			}
			if n := netnsenv.TableCount(t, e); n != e.Room().Filler {
				t.Errorf("%d entries of filler, want %d", n, e.Room().Filler)
			}
			if !e.Room().Unreplied {
				createAssured(t, e, free)
				if err := e.Table().Create(assured(free)); !errors.Is(err, unix.ENOMEM) {
					t.Errorf("one more: %v, want ENOMEM", err)
				}
				needs.Check(t, e.Refill(t.Context()))
			}
		}
	}
}

// A table without a filler is emptied.
func TestRefillWithoutARoom(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	createAssured(t, e, 3)
	needs.Check(t, e.Refill(t.Context()))
	if n := count(t, e); n != 0 {
		t.Errorf("%d entries are left", n)
	}
	needs.Check(t, e.Close())
	if err := e.Refill(t.Context()); !errors.Is(err, netnsenv.ErrClosed) {
		t.Errorf("of a closed Env: %v", err)
	}
}

// BenchmarkRefill is beside BenchmarkOpenWithRoom: ten entries are deleted, and the filler is found to be whole.
func BenchmarkRefill(b *testing.B) {
	e, err := netnsenv.Open(b.Context(), netnsenv.Config{Room: netnsenv.Free(10)})
	needs.Check(b, err)
	b.Cleanup(func() { e.Close() })
	for b.Loop() {
		for i := range 10 {
			needs.Check(b, e.Table().Create(assured(i)))
		}
		needs.Check(b, e.Refill(b.Context()))
	}
}

func BenchmarkOpenWithRoom(b *testing.B) {
	for b.Loop() {
		e, err := netnsenv.Open(b.Context(), netnsenv.Config{Room: netnsenv.Free(7)})
		needs.Check(b, err)
		e.Close()
	}
}
