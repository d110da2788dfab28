package netnsenv_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

// lasting returns an entry with the given source port that expires after some seconds.
func lasting(port uint16, seconds int) nf.Entry {
	e := entry(port)
	e.Timeout = time.Duration(seconds) * time.Second
	e.Status = nf.Confirmed | nf.SeenReply | nf.Assured // the collector of a full table takes others at any time
	return e
}

// create creates entries.
func create(t testing.TB, e *netnsenv.Env, entries ...nf.Entry) {
	t.Helper()
	for _, en := range entries {
		if err := e.Table().Create(en); err != nil {
			t.Fatal(err)
		}
	}
}

// lefts returns the timeouts of the entries by source port, rounded up to seconds.
func lefts(t testing.TB, e *netnsenv.Env) map[uint16]int {
	t.Helper()
	obs, err := observe.Open(t.Context(), e, observe.Config{NoEvents: true, NoFrames: true, Filler: e.Room().Filler})
	if err != nil {
		t.Fatal(err)
	}
	defer obs.Close()
	left := map[uint16]int{}
	for en, err := range obs.Flows(t.Context(), nf.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		left[en.Orig.Src.Port()] = int(en.Timeout/time.Second) + 1
	}
	return left
}

// Age destroys entries whose timeout is not longer than its duration, and reduces the timeouts of others by it.
func TestAgeDestroysExpiredEntries(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]netnsenv.Config{"empty": {}, "filled": {Room: netnsenv.Free(7)}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := open(t, cfg)
			create(t, e, lasting(1, 60), lasting(2, 119), lasting(3, 120), lasting(4, 300), lasting(5, 432000))

			ended, err := e.Age(t.Context(), 120*time.Second)

			if err != nil || ended != 3 {
				t.Errorf("%d entries came to their end, %v; want 3", ended, err)
			}
			if n := count(t, e); n != 2 {
				t.Errorf("%d entries are counted, want 2", n)
			}
			if diff := cmp.Diff(map[uint16]int{4: 180, 5: 431880}, lefts(t, e), slack); diff != "" {
				t.Errorf("seconds left by port (-want +got):\n%s", diff)
			}
		})
	}
}

// slack compares seconds, allowing for the time that the test takes beside others. What would be wrong is further away.
var slack = cmp.Comparer(func(a, b int) bool { return max(a, b)-min(a, b) <= 50 })

// Age assumes a full second for a fraction, so that none gets lost: an entry has what is left of its hour.
func TestAgeRoundsUp(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	create(t, e, lasting(1, 3600))
	began := time.Now()
	for range 9 {
		if n, err := e.Age(t.Context(), 390*time.Second); n != 0 || err != nil {
			t.Fatalf("%d entries ended, %v", n, err)
		}
	}
	left, elapsed := lefts(t, e)[1], time.Since(began)
	if want := 3600 - 9*390; left > want+1 || left < want-int(elapsed/time.Second) {
		t.Errorf("%d seconds are left after %v, want %d", left, elapsed, want)
	}
	if n, err := e.Age(t.Context(), 90*time.Second); n != 1 || err != nil {
		t.Errorf("after its hour %d entries ended, %v; want 1", n, err)
	}
}

// An entry that two filters select ages once. A fixed timeout does not change.
func TestAgeWithFilters(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	marked, zoned, both, fixed := lasting(2, 1000), lasting(3, 1000), lasting(4, 1000), lasting(5, 1000)
	marked.Mark, both.Mark = 7, 7
	zoned.Zone, both.Zone = 9, 9
	fixed.Mark, fixed.Status = 7, nf.Confirmed|nf.FixedTimeout
	create(t, e, lasting(1, 1000), marked, zoned, both, fixed)

	_, err := e.Age(t.Context(), 400*time.Second, nf.Filter{Mark: 7, MarkMask: 7}, nf.Filter{Zone: nf.InZone(9)})

	if err != nil {
		t.Fatal(err)
	}
	want := map[uint16]int{1: 1000, 2: 600, 3: 600, 4: 600, 5: 1000}
	if diff := cmp.Diff(want, lefts(t, e), slack); diff != "" {
		t.Errorf("seconds left by port (-want +got):\n%s", diff)
	}
}

// Entries of all protocols age.
func TestAgeOfEveryProtocol(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	echo := nf.Tuple{Proto: nf.ICMP, Src: noPort(web.Src), Dst: noPort(web.Dst), ICMP: nf.ICMPTuple{Type: 8, ID: 5}}
	udp, other := web.UDP(nil).Tuple(), nf.Tuple{Proto: 99, Src: noPort(web.Src), Dst: noPort(web.Dst)}
	udp6 := nf.Tuple{Proto: nf.UDP, Src: addrPort("[2001:db8:1::2]:10000"), Dst: addrPort("[2001:db8::1]:53")}
	for _, tuple := range []nf.Tuple{echo, udp, udp6, other} {
		create(t, e, nf.Entry{Orig: tuple, Reply: tuple.Reverse(), Timeout: time.Hour})
	}
	oneWay := lasting(7, 3600)
	oneWay.Zone, oneWay.ZoneDir = 3, nf.Original
	create(t, e, oneWay)
	if n, err := e.Age(t.Context(), time.Hour); n != 5 || err != nil {
		t.Errorf("%d entries ended, %v; want all 5", n, err)
	}
}

func TestAgeRejectsInvalidDurations(t *testing.T) {
	t.Parallel()
	e := open(t, netnsenv.Config{})
	for d, want := range map[time.Duration]string{
		-time.Second:            "age by -1s: want 0 or more",
		1500 * time.Millisecond: "age by 1.5s: want whole seconds, the unit of the kernel's timeouts",
	} {
		if _, err := e.Age(t.Context(), d); err == nil || err.Error() != want {
			t.Errorf("%v: %v, want %q", d, err, want)
		}
	}
	filler := nf.Filter{Zone: nf.InZone(65535)}
	if _, err := e.Age(t.Context(), time.Second, nf.Filter{}, filler); err == nil || err.Error() != "age by 1s: zone 65535 belongs to the filler" {
		t.Errorf("the filler: %v", err)
	}
	if _, err := e.Table().Flush(t.Context(), filler); err == nil || err.Error() != "flush: zone 65535 belongs to the filler" {
		t.Errorf("flush the filler: %v", err)
	}
	create(t, e, lasting(1, 10))
	if n, err := e.Age(t.Context(), 0); n != 0 || err != nil || count(t, e) != 1 {
		t.Errorf("by nothing: %d, %v", n, err)
	}
	if n, err := e.Age(t.Context(), 1<<62/time.Second*time.Second); n != 1 || err != nil {
		t.Errorf("by an age: %d, %v", n, err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Age(t.Context(), time.Second); !errors.Is(err, netnsenv.ErrClosed) || strings.Count(err.Error(), "closed") < 1 {
		t.Errorf("closed: %v", err)
	}
}

func BenchmarkAge(b *testing.B) {
	for name, n := range map[string]int{"1": 1, "1000": 1000, "1 beside a filler": 1} {
		b.Run(name, func(b *testing.B) {
			cfg := netnsenv.Config{}
			if strings.Contains(name, "filler") {
				cfg.Room = netnsenv.Free(1000)
			}
			e := open(b, cfg)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				if _, err := e.Table().CreateAll(b.Context(), entries(n)); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				if ended, err := e.Age(b.Context(), time.Hour); ended != n || err != nil {
					b.Fatal(ended, err)
				}
			}
		})
	}
}
