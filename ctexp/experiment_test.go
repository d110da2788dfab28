package ctexp_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/redtest"
)

// Everything that an Experiment can be asked agrees about one SYN, in both families.
func TestOneSYNIsSeenByEverything(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Silent: true, Probes: []nf.Probe{nf.RawPrerouting}})

	x.Inject(packet.Packets(packet.SYN(web)))

	want := observe.Tally{Packets: map[string]uint64{"raw/prerouting": 1}, Entries: 1}
	if diff := x.Tally().Diff(want); diff != "" {
		t.Errorf("tally (-want +got):\n%s", diff)
	}
	flows := x.Flows()
	if len(flows) != 1 || flows[0].State != nf.SynSent || flows[0].Orig != web.Tuple(nf.TCP) {
		t.Errorf("flows %v", flows)
	}
	frames := x.Frames()
	if len(frames) != 1 || string(frames[0].Packet) != string(packet.SYN(web)) || frames[0].Link != "tun0" || frames[0].Dir != packet.In {
		t.Errorf("frames %v", frames)
	}
	if s := x.Path().String(); !strings.Contains(s, "raw 1 ") {
		t.Errorf("path:\n%s", s)
	}
	if len(x.Rules()) != 0 {
		t.Errorf("rules %v", x.Rules())
	}
}

func TestFramesAreSelectedByMatches(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Silent: true})
	x.Inject(packet.Packets(packet.SYN(web), web.UDP(nil), packet.RST(web)))
	syn, rst, other := packet.Match{Flags: packet.FlagSYN}, packet.Match{Flags: packet.FlagRST}, packet.Match{Out: "tun0"}
	got := map[string]int{
		"all": len(x.Frames()), "UDP": len(x.Frames(packet.Match{Proto: nf.UDP})), "either": len(x.Frames(syn, rst)), "none": len(x.Frames(other)),
	}
	if diff := cmp.Diff(map[string]int{"all": 3, "UDP": 1, "either": 2, "none": 0}, got); diff != "" {
		t.Errorf("numbers of frames (-want +got):\n%s", diff)
	}
}

// Sub separates two phases of an experiment.
func TestPhasesAreToldApart(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Silent: true, Probes: []nf.Probe{nf.RawPrerouting}})
	x.Inject(packet.SYNs(3, web))
	mark := x.Tally()
	x.Inject(packet.SYNs(5, web)) // three of them again

	want := observe.Tally{Packets: map[string]uint64{"raw/prerouting": 5}, Entries: 2}
	if diff := x.Tally().Sub(mark).Diff(want); diff != "" {
		t.Errorf("second phase (-want +got):\n%s", diff)
	}
}

func TestInjectByAnUnknownLinkFails(t *testing.T) {
	t.Parallel()
	ctexp.New(t, netnsenv.Config{})
	fake := &redtest.TB{}
	log := fake.Run(func(f *redtest.TB) { ctexp.New(f, netnsenv.Config{}).InjectOn("tun9", packet.SYNs(1, web)) })
	if !fake.Failed() || !strings.Contains(log, `no link "tun9"`) {
		t.Errorf("failed %v: %s", fake.Failed(), log)
	}
}

func TestTooLargeAPacketFails(t *testing.T) {
	t.Parallel()
	ctexp.New(t, netnsenv.Config{})
	fake := &redtest.TB{}
	log := fake.Run(func(f *redtest.TB) {
		ctexp.New(f, netnsenv.Config{}).Inject(packet.Packets(web.UDP(make([]byte, 2000))))
	})
	if !fake.Failed() || !strings.Contains(log, "2028") || !strings.Contains(log, "1500") {
		t.Errorf("failed %v: %s", fake.Failed(), log)
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

// deadlineTB is a test with a deadline.
type deadlineTB struct {
	*redtest.TB
	at   time.Time
	more time.Duration // by which the deadline moves when the test fails
}

func (d *deadlineTB) Deadline() (time.Time, bool) { return d.at, true }

func (d *deadlineTB) Fatalf(format string, args ...any) {
	d.at = d.at.Add(d.more)
	d.TB.Fatalf(format, args...)
}

// Await gives up before the test's own deadline (see TestOperationsLeaveTimeToReport).
func TestAwaitGivesUpInTime(t *testing.T) {
	t.Parallel()
	ctexp.New(t, netnsenv.Config{})
	fake := &redtest.TB{}
	d := &deadlineTB{TB: fake, at: time.Now().Add(time.Hour)}
	log := fake.Run(func(*redtest.TB) {
		x := ctexp.New(d, netnsenv.Config{})
		d.at = time.Now().Add(2 * time.Second)
		x.Await("the moon", func() bool { return false })
	})
	if !fake.Failed() || !strings.Contains(log, "Await the moon: not before the test's deadline") {
		t.Errorf("failed %v: %s", fake.Failed(), log)
	}
}

// The Experiment belongs to its test: when that is over its namespace is gone.
func TestExperimentEndsWithItsTest(t *testing.T) {
	t.Parallel()
	ctexp.New(t, netnsenv.Config{})
	var x *ctexp.Experiment
	t.Run("inner", func(t *testing.T) { x = ctexp.New(t, netnsenv.Config{}) })
	if x.Env.FD() != -1 {
		t.Error("the Env is still open")
	}
}

func BenchmarkExperiment(b *testing.B) {
	for b.Loop() {
		lab, err := ctexp.Open(b.Context(), netnsenv.Config{Silent: true, Probes: []nf.Probe{nf.RawPrerouting, nf.ManglePrerouting}})
		ctexp.Require(b, "open", err)
		if _, err := lab.Inject(b.Context(), packet.SYNs(10, web)); err != nil {
			b.Fatal(err)
		}
		if tally, err := lab.Observer.Tally(b.Context()); err != nil || tally.Entries != 10 {
			b.Fatalf("%v, %v", tally, err)
		}
		lab.Close()
	}
}

// Without conntrack there is no table, but there is still a path.
func TestPathIsSeenWithoutConntrack(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Silent: true, Conntrack: netnsenv.Off, Probes: []nf.Probe{nf.FilterInput}})

	x.Inject(packet.SYNs(2, web))

	want := observe.Tally{Packets: map[string]uint64{"filter/input": 2}}
	if diff := x.Tally().Diff(want); diff != "" {
		t.Errorf("2 SYNs (-want +got):\n%s", diff)
	}
	if s := x.Path().String(); !strings.Contains(s, "filter 2") {
		t.Errorf("path:\n%s", s)
	}
}

// router forwards between the clients of web, behind tun0, and its server, behind tun1.
var router = netnsenv.Config{
	Links: []netnsenv.LinkConfig{
		{Prefixes: []netip.Prefix{netip.MustParsePrefix("198.18.0.1/24")}},
		{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.254/24")}},
	},
	Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
	Silent:  true,
}

// connection is a TCP connection that is opened and closed, as a router sees it.
func connection(f packet.Flow) []packet.Packet {
	r := f.Reverse()
	return []packet.Packet{
		packet.SYN(f), packet.SYNACK(r), packet.ACK(f),
		packet.FIN(f),
		r.TCP(packet.TCP{Flags: packet.FlagACK, Seq: 2, Ack: 3}),
		r.TCP(packet.TCP{Flags: packet.FlagFIN | packet.FlagACK, Seq: 2, Ack: 3}),
		f.TCP(packet.TCP{Flags: packet.FlagACK, Seq: 3, Ack: 3}),
	}
}

// After each packet of a connection its entry is in the state of the kernel's tcp_conntracks table.
func TestStatesOfAConnection(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, router)
	flow := web.Tuple(nf.TCP)

	got := x.States(flow, packet.Packets(connection(web)...))

	want := []string{
		"SYN_SENT [UNREPLIED]", "SYN_RECV", "ESTABLISHED [ASSURED]",
		"FIN_WAIT [ASSURED]", "CLOSE_WAIT [ASSURED]", "LAST_ACK [ASSURED]", "TIME_WAIT [ASSURED]",
	}
	if diff := ctexp.Diff(want, got); diff != "" {
		t.Errorf("after each packet (-want +got):\n%s", diff)
	}
}

// The same connection by its events; a flushed entry has a DESTROY event.
func TestLifeOfAConnection(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, router)
	flow := web.Tuple(nf.TCP)
	x.States(flow, packet.Packets(connection(web)...))
	if n := x.Flush(); n != 1 {
		t.Errorf("%d entries were flushed, want 1", n)
	}

	want := []string{
		"NEW SYN_SENT", "UPDATE SYN_RECV", "UPDATE ESTABLISHED [ASSURED]",
		"UPDATE FIN_WAIT [ASSURED]", "UPDATE CLOSE_WAIT [ASSURED]", "UPDATE LAST_ACK [ASSURED]", "UPDATE TIME_WAIT [ASSURED]", "DESTROY",
	}
	if diff := ctexp.Diff(want, x.Life(flow)); diff != "" {
		t.Errorf("life (-want +got):\n%s", diff)
	}
	if nobody := packet.SYN(web.Nth(1)).Tuple(); observe.Life(x.Events(), nobody) != nil {
		t.Errorf("a flow that never was has a life: %q", observe.Life(x.Events(), nobody))
	}
}

// A RST in answer to a SYN ends the flow, which is never established.
func TestResetFlowIsNeverEstablished(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, router)
	flow := web.Tuple(nf.TCP)

	got := x.States(flow, packet.Packets(
		packet.SYN(web),
		web.Reverse().TCP(packet.TCP{Flags: packet.FlagRST | packet.FlagACK, Ack: 2}),
	))

	if want := []string{"SYN_SENT [UNREPLIED]", "none"}; ctexp.Diff(want, got) != "" {
		t.Errorf("after each packet: %q, want %q", got, want)
	}
	life := x.Life(flow)
	if want := []string{"NEW SYN_SENT", "DESTROY"}; ctexp.Diff(want, life) != "" {
		t.Errorf("life: %q, want %q", life, want)
	}
	if slices.ContainsFunc(life, func(s string) bool { return strings.Contains(s, "ESTABLISHED") }) {
		t.Error("it was established")
	}
}

// Only what the filter selects is flushed.
func TestFlushByFilter(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Silent: true})
	x.Inject(packet.Concat(packet.SYNs(3, web), packet.UDPs(2, web)))
	if n := x.Flush(nf.Filter{Proto: nf.UDP}); n != 2 {
		t.Errorf("%d entries were flushed, want the 2 of UDP", n)
	}
	if left := x.Flows(nf.Filter{Proto: nf.TCP}); len(left) != 3 {
		t.Errorf("left: %v", left)
	}
	x.Inject(packet.UDPs(2, web))
	if n, err := x.Lab.Flush(t.Context(), nf.Filter{Proto: nf.UDP}, nf.Filter{Proto: nf.TCP}); n != 5 || err != nil {
		t.Errorf("by two filters %d entries were flushed, %v; want 5", n, err)
	}
}

// With the receive buffer that an ordinary user gets by default, Inject loses no event, though each SYN makes an entry that
// the host's RST ends at once.
func TestInjectLosesNoEvents(t *testing.T) {
	t.Parallel()
	const flows, rmemDefault = 5000, 212_992
	env, err := netnsenv.Open(t.Context(), netnsenv.Config{NoPath: true})
	ctexp.Require(t, "open an Env", err)
	lab, err := ctexp.Watch(t.Context(), env, observe.Config{NoFrames: true, EventBuffer: rmemDefault})
	if err != nil {
		t.Fatal(errors.Join(err, env.Close()))
	}
	defer lab.Close()

	if _, err := lab.Inject(t.Context(), packet.SYNs(flows, web)); err != nil {
		t.Fatal(err)
	}

	got := map[string]int{}
	for e, err := range lab.Observer.Events(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got[e.Short()]++
	}
	if diff := ctexp.Diff(map[string]int{"NEW SYN_SENT": flows, "DESTROY": flows}, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// What the recording costs a flood of new flows.
func BenchmarkInjectWithEvents(b *testing.B) {
	const flows = 10000
	for name, none := range map[string]bool{"recorded": false, "NoEvents": true} {
		b.Run(name, func(b *testing.B) {
			lab, err := ctexp.Open(b.Context(), netnsenv.Config{Silent: true, NoPath: true, NoFrames: true, NoEvents: none})
			ctexp.Require(b, "open", err)
			defer lab.Close()
			for b.Loop() {
				if _, err := lab.Inject(b.Context(), packet.SYNs(flows, web)); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if _, err := lab.Flush(b.Context(), nf.Filter{}); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(flows*b.N)/b.Elapsed().Seconds(), "packets/s")
		})
	}
}

// After its packets, each Inject has a mark in the Timeline with the counts it has changed.
func TestTimelineTellsInjectionsApart(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Links: veth, Silent: true, Probes: []nf.Probe{nf.RawPrerouting}})

	x.Inject(packet.SYNs(2, web))
	x.InjectOn("tun0", packet.Packets(web.UDP(nil)))

	type line struct {
		Kind observe.MomentKind
		Text string
	}
	want := []line{
		{observe.KindFrame, "tun0 In  IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0"},
		{observe.KindFrame, "tun0 In  IP 198.18.0.2.10001 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0"},
		{observe.KindCount, "2 packets by tun0: raw/prerouting +2, entries +2"},
		{observe.KindFrame, "tun0 In  IP 198.18.0.2.10000 > 192.0.2.1.80: UDP, length 0"},
		{observe.KindCount, "1 packet by tun0: raw/prerouting +1, entries +1"},
	}
	var got []line
	for _, m := range x.Timeline().Moments {
		if m.Kind == observe.KindFrame || m.Kind == observe.KindCount {
			got = append(got, line{m.Kind, m.Text})
		}
	}
	if diff := ctexp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The file beside the capture reads as the Timeline prints itself, with the frames numbered as in the capture.
func TestTimelineIsKeptAsItPrints(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Links: veth, Silent: true, Trace: true})
	x.Inject(packet.SYNs(2, web))
	dir := t.TempDir()

	if _, err := x.WriteReport(t.Context(), dir, "two"); err != nil {
		t.Fatal(err)
	}

	got, err := os.ReadFile(filepath.Join(dir, "two.timeline.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := ctexp.Diff(strings.TrimSpace(x.Timeline().String()), strings.TrimSpace(string(got))); diff != "" {
		t.Errorf("(-Timeline +timeline.txt):\n%s", diff)
	}
}

// Two minutes after a connection was closed its TIME_WAIT is over, without anybody having waited; what has aged and is
// still there has no event.
func TestAgeEndsTimeWait(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, router)
	flow := web.Tuple(nf.TCP)
	x.States(flow, packet.Packets(connection(web)...))
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
	if last := events[len(events)-1]; last.ByNetlink {
		t.Errorf("somebody has asked for %v", last)
	}
	if got := x.Tally(); got.Ended != (observe.Ended{Aged: 1}) || got.Collected != 0 {
		t.Errorf("%v: want one entry that was aged", got)
	}
}

// What the experiment itself changes by netlink is an event as before.
func TestUpdatesThatAreNoAgeAreHeard(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, router)
	x.Inject(packet.SYNs(1, web))
	e := x.Flows()[0]
	e.Mark = 7
	if err := x.Env.Table().Update(nf.Entry{Orig: e.Orig, Reply: e.Reply, Mark: 7}); err != nil {
		t.Fatal(err)
	}
	if life := x.Life(e.Orig); !slices.Contains(life, "UPDATE SYN_SENT") {
		t.Errorf("life %q", life)
	}
	made := packet.SYN(web.Nth(5)).Tuple()
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
	x.Inject(packet.SYNs(n, web))
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
		x.States(flow, packet.Packets(connection(web)...))
		b.StartTimer()
		if n := x.Age(121 * time.Second); n != 1 || len(x.Flows()) != 0 {
			b.Fatalf("%d entries ended", n)
		}
	}
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	asked := 0
	err := ctexp.Await(ctx, func() (bool, error) {
		if asked++; asked == 3 {
			cancel(why)
		}
		return false, nil
	})
	if !errors.Is(err, why) || asked != 3 {
		t.Errorf("asked %d times, then %v", asked, err)
	}
}

func TestAwaitEndsWithAnErrorOfItsCondition(t *testing.T) {
	t.Parallel()
	why := errors.New("no way")
	if err := ctexp.Await(t.Context(), func() (bool, error) { return false, why }); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
}

// A conntrack event wakes Await long before the next tick.
func TestAwaitWakesOnEvents(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Silent: true})
	next := x.Observer.NextEvent()
	sent := make(chan error, 1)
	go func() {
		_, err := x.Lab.Inject(t.Context(), packet.SYNs(1, web))
		sent <- err
	}()
	select {
	case <-next:
	case <-t.Context().Done():
		t.Fatal("no event")
	}
	x.Await("the entry", func() bool { return len(x.Flows()) == 1 })
	if err := <-sent; err != nil {
		t.Error(err)
	}
}
