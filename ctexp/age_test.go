package ctexp_test

import (
	"slices"
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Two minutes after a connection was closed its TIME_WAIT is over, without anybody having waited; what has aged and is
// still there has no event.
func TestAgeEndsTimeWait(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, router)
	flow := web.Tuple(nf.TCP)
	x.States(flow, inject.Packets(connection(web)...))
	closed := x.Life(flow)

	early := x.Age(60 * time.Second)
	unchanged := x.Life(flow)
	ended := x.Age(61 * time.Second)

	if early != 0 || ended != 1 {
		t.Errorf("%d entries ended after 60 s, %d after 121 s; want 0 and 1", early, ended)
	}
	if diff := ctexp.Diff(closed, unchanged); diff != "" {
		t.Errorf("life after 60 s (-want +got):\n%s", diff)
	}
	if diff := ctexp.Diff(append(closed, "DESTROY"), x.Life(flow)); diff != "" {
		t.Errorf("life after 121 s (-want +got):\n%s", diff)
	}
	if flows := x.Flows(); len(flows) != 0 {
		t.Errorf("entries that are left: %v", flows)
	}
	events := x.Events()
	if last := events[len(events)-1]; last.Asked {
		t.Errorf("somebody has asked for %v", last)
	}
	if n := x.Tally().Collected; n != 1 {
		t.Errorf("%d entries left by themselves, want 1", n)
	}
}

// What the experiment itself changes by netlink is an event as before.
func TestUpdatesThatAreNoAgeAreHeard(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, router)
	x.Inject(inject.SYNs(1, web))
	e := x.Flows()[0]
	e.Mark = 7
	if err := x.Env.Table().Update(nf.Entry{Orig: e.Orig, Reply: e.Reply, Mark: 7}); err != nil {
		t.Fatal(err)
	}
	if life := x.Life(e.Orig); !slices.Contains(life, "UPDATE SYN_SENT") {
		t.Errorf("life %q", life)
	}
	made := inject.SYN(web.Nth(5)).Tuple()
	if err := x.Env.Table().Create(nf.Entry{Orig: made, Reply: made.Reverse(), State: nf.Established, Timeout: time.Hour}); err != nil {
		t.Fatal(err)
	}
	x.Age(time.Hour)
	if diff := ctexp.Diff([]string{"NEW ESTABLISHED", "DESTROY"}, x.Life(made)); diff != "" {
		t.Errorf("life of an entry that was made by hand (-want +got):\n%s", diff)
	}
}

// A table of thousands ages without losing an event, also for an ordinary user with a small buffer.
func TestAgeOfManyLosesNoEvent(t *testing.T) {
	t.Parallel()
	const n = 5000
	x := ctexp.New(t, router)
	x.Inject(inject.SYNs(n, web))
	if ended := x.Age(time.Second); ended != 0 {
		t.Errorf("%d entries ended after a second", ended)
	}
	if ended := x.Age(119 * time.Second); ended != n {
		t.Errorf("%d entries ended, want %d", ended, n)
	}
	destroyed := 0
	for _, e := range x.Events() {
		if e.Short() == "DESTROY" {
			destroyed++
		}
	}
	if destroyed != n {
		t.Errorf("%d DESTROY events, want %d", destroyed, n)
	}
}

// From a closed connection to an empty table: the waiting that a test does not do.
func BenchmarkAgeOfTimeWait(b *testing.B) {
	x := ctexp.New(b, router)
	flow := web.Tuple(nf.TCP)
	for b.Loop() {
		b.StopTimer()
		x.States(flow, inject.Packets(connection(web)...))
		b.StartTimer()
		if n := x.Age(121 * time.Second); n != 1 || len(x.Flows()) != 0 {
			b.Fatalf("%d entries ended", n)
		}
	}
	if b.Elapsed() > time.Duration(b.N)*50*time.Millisecond {
		b.Errorf("Age takes more than 50 ms: %v", b.Elapsed()/time.Duration(b.N))
	}
}
