package ctexp_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

// Everything that an Experiment can be asked agrees about one SYN, in both families.
func TestOneSYNIsSeenByEverything(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Silent: true, Probes: []nf.Probe{nf.RawPrerouting}})

	x.Inject(inject.Packets(inject.SYN(web)))

	want := observe.Tally{Packets: map[string]uint64{"raw/prerouting": 1}, Entries: 1}
	if diff := x.Tally().Diff(want); diff != "" {
		t.Errorf("tally (-want +got):\n%s", diff)
	}
	flows := x.Flows()
	if len(flows) != 1 || flows[0].State != nf.SynSent || flows[0].Orig != web.Tuple(nf.TCP) {
		t.Errorf("flows %v", flows)
	}
	frames := x.Frames()
	if len(frames) != 1 || string(frames[0].Packet) != string(inject.SYN(web)) || frames[0].Link != "tun0" || frames[0].Dir != observe.In {
		t.Errorf("frames %v", frames)
	}
	if s := x.Path().String(); !strings.Contains(s, "raw 1 ") {
		t.Errorf("path:\n%s", s)
	}
	if len(x.Rules()) != 0 {
		t.Errorf("rules %v", x.Rules())
	}
}

// Two phases: what comes after a mark is told from what was before.
func TestPhasesAreToldApart(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Silent: true, Probes: []nf.Probe{nf.RawPrerouting}})
	x.Inject(inject.SYNs(3, web))
	mark := x.Tally()
	x.Inject(inject.SYNs(5, web)) // three of them again

	want := observe.Tally{Packets: map[string]uint64{"raw/prerouting": 5}, Entries: 2}
	if diff := x.Tally().Sub(mark).Diff(want); diff != "" {
		t.Errorf("second phase (-want +got):\n%s", diff)
	}
}

func TestInjectByAnUnknownLinkFails(t *testing.T) {
	t.Parallel()
	ctexp.New(t, netnsenv.Config{})
	fake := &fakeTB{}
	log := fake.run(func(f *fakeTB) { ctexp.New(f, netnsenv.Config{}).InjectBy("tun9", inject.SYNs(1, web)) })
	if !fake.failed || !strings.Contains(log, `no link "tun9"`) {
		t.Errorf("failed %v: %s", fake.failed, log)
	}
}

func TestTooLargeAPacketFails(t *testing.T) {
	t.Parallel()
	ctexp.New(t, netnsenv.Config{})
	fake := &fakeTB{}
	log := fake.run(func(f *fakeTB) {
		ctexp.New(f, netnsenv.Config{}).Inject(inject.Packets(web.UDP(make([]byte, 2000))))
	})
	if !fake.failed || !strings.Contains(log, "2028") || !strings.Contains(log, "1500") {
		t.Errorf("failed %v: %s", fake.failed, log)
	}
}

func TestAwaitWaitsForACondition(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Silent: true})
	asked := 0
	x.Await("the third time", func() bool { asked++; return asked == 3 })
	if asked != 3 {
		t.Errorf("asked %d times", asked)
	}
}

// deadlineTB is a test with a deadline, which remembers when it failed.
type deadlineTB struct {
	*fakeTB
	at, failed time.Time
}

func (d *deadlineTB) Deadline() (time.Time, bool) { return d.at, true }

func (d *deadlineTB) Fatalf(format string, args ...any) {
	d.failed = time.Now()
	d.fakeTB.Fatalf(format, args...)
}

// Await gives up before the test's own deadline, so that the failure can explain itself.
func TestAwaitGivesUpInTime(t *testing.T) {
	t.Parallel()
	ctexp.New(t, netnsenv.Config{})
	fake := &fakeTB{}
	d := &deadlineTB{fakeTB: fake, at: time.Now().Add(time.Hour)}
	log := fake.run(func(*fakeTB) {
		x := ctexp.New(d, netnsenv.Config{})
		d.at = time.Now().Add(2 * time.Second)
		x.Await("the moon", func() bool { return false })
	})
	if !fake.failed || !strings.Contains(log, "Await the moon: not before the test's deadline") || !d.failed.Before(d.at) {
		t.Errorf("failed %v, %v before the deadline: %s", fake.failed, d.at.Sub(d.failed), log)
	}
}

// The Experiment belongs to its test: when that is over its namespace is gone.
func TestExperimentEndsWithItsTest(t *testing.T) {
	t.Parallel()
	var x *ctexp.Experiment
	t.Run("inner", func(t *testing.T) { x = ctexp.New(t, netnsenv.Config{}) })
	if x == nil {
		t.Skip("the inner test was skipped")
	}
	if x.Env.FD() != -1 {
		t.Error("the Env is still open")
	}
}

func BenchmarkExperiment(b *testing.B) {
	for b.Loop() {
		lab, err := ctexp.Open(b.Context(), netnsenv.Config{Silent: true, Probes: []nf.Probe{nf.RawPrerouting, nf.ManglePrerouting}})
		ctexp.Require(b, "open", err)
		if _, err := lab.Inject(b.Context(), inject.SYNs(10, web)); err != nil {
			b.Fatal(err)
		}
		if tally, err := lab.Observer.Tally(b.Context()); err != nil || tally.Entries != 10 {
			b.Fatalf("%v, %v", tally, err)
		}
		lab.Close()
	}
}

// Without conntrack there is no table, but the path is there all the same.
func TestPathIsSeenWithoutConntrack(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Silent: true, Conntrack: netnsenv.Off, Probes: []nf.Probe{nf.FilterInput}})

	x.Inject(inject.SYNs(2, web))

	want := observe.Tally{Packets: map[string]uint64{"filter/input": 2}}
	if diff := x.Tally().Diff(want); diff != "" {
		t.Errorf("2 SYNs (-want +got):\n%s", diff)
	}
	if s := x.Path().String(); !strings.Contains(s, "filter 2") {
		t.Errorf("path:\n%s", s)
	}
}
