package ctexp_test

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/nftables"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/kernel"
	"github.com/ctexp/go-ctexp/internal/needs"
	"github.com/ctexp/go-ctexp/internal/redtest"
)

// With two experiments in a test, each report says which one it is about, and has its own file names.
func TestExperimentsOfOneTestAreToldApart(t *testing.T) {
	t.Parallel()
	fake := &redtest.TB{TestName: "TestX"}
	log := fake.Run(func(f *redtest.TB) {
		ctexp.New(f, netnsenv.Config{Links: veth})
		y := ctexp.New(f, netnsenv.Config{Links: veth})
		y.Errorf("the second is wrong")
	})
	needs.Check(t, fake.Lack())
	var got []string
	for _, m := range regexp.MustCompile(`(?m)^(what happened in .*|--- artifacts: .*)$`).FindAllString(log, -1) {
		got = append(got, regexp.MustCompile(`:\d+\)|: /.*/`).ReplaceAllString(m, "…"))
	}
	want := []string{
		"what happened in experiment 2 of 2 (experiment_linux_test.go…: tun0 (veth) 192.0.2.1/24: no packet met a probe",
		"--- artifacts…TestX.2.report.html",
		"what happened in experiment 1 of 2 (experiment_linux_test.go…: tun0 (veth) 192.0.2.1/24: no packet met a probe",
		"--- artifacts…TestX.report.html",
	}
	if diff := ctexp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	first, second := log[strings.Index(log, "experiment 1"):], log[:strings.Index(log, "experiment 1")]
	if got := strings.Join(failuresOf(t, second), "\n"); !strings.HasPrefix(got, "experiment_linux_test.go:N: experiment 2 of 2 (") || !strings.HasSuffix(got, "): the second is wrong") {
		t.Errorf("the second says %q", got)
	}
	if got := strings.Join(failuresOf(t, first), "\n"); !strings.HasPrefix(got, "experiment 1 of 2 (") || strings.Contains(got, "wrong") {
		t.Errorf("the first says %q", got)
	}
}

// An experiment that comes when those before it are closed is the first again, as that of another test of the name is.
func TestExperimentAfterOthersIsTheFirst(t *testing.T) {
	t.Parallel()
	fake := &redtest.TB{TestName: "TestX"}
	run := func() string {
		return fake.Run(func(f *redtest.TB) {
			ctexp.New(f, netnsenv.Config{Links: veth})
			f.Errorf("no")
		})
	}
	run()
	log := run()
	needs.Check(t, fake.Lack())
	if strings.Contains(log, "experiment") || strings.Count(log, "/TestX.report.html") != 2 {
		t.Errorf("the log is\n%s", log)
	}
}

// A test that panics leaves a report, although it is not marked as failed yet.
func TestPanicLeavesAReport(t *testing.T) {
	t.Parallel()
	fake := &redtest.TB{TestName: "TestX", Panics: true}
	log := fake.Run(func(f *redtest.TB) {
		ctexp.New(f, netnsenv.Config{Links: veth, Silent: true}).Inject(packet.SYNs(1, web))
		panic("so")
	})
	needs.Check(t, fake.Lack())
	if fake.Failed() || !strings.Contains(log, "entries 1\n") || !strings.HasSuffix(log, "\npanic: so\n") {
		t.Errorf("failed %v, and the log is\n%s", fake.Failed(), log)
	}
	if got, want := strings.Join(failuresOf(t, log), "\n"), "experiment_linux_test.go:N: the test panicked: go test prints the panic at the end of the log"; got != want {
		t.Errorf("result.json has %q, want %q", got, want)
	}
}

// Flow finds an entry by either of its tuples, and returns the zero Entry if there is none.
func TestFlowIsTheEntryOfATuple(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Links: veth, Silent: true})
	flow := web.Tuple(nf.TCP)

	x.AllowVacuous()
	before := x.Flow(flow)
	x.Inject(packet.SYNs(1, web))

	if before != (nf.Entry{}) {
		t.Errorf("before there was one: %v", before)
	}
	if diff := ctexp.Diff(x.Flows()[0].String(), x.Flow(flow.Reverse()).String()); diff != "" {
		t.Errorf("by its reply (-want +got):\n%s", diff)
	}
	if diff := ctexp.Diff(reported(observe.Stats{}), x.Stats()); diff != "" {
		t.Errorf("a new flow counts in no statistics (-want +got):\n%s", diff)
	}
	if expected := x.Expectations(); len(expected) != 0 {
		t.Errorf("expected: %v", expected)
	}
}

// Rules come and go while the experiment goes on.
func TestRulesAreLoadedLater(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Silent: true})
	drop := func(c *nftables.Conn) error {
		table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "later"})
		policy := nftables.ChainPolicyDrop
		c.AddChain(&nftables.Chain{
			Table: table, Name: "in", Type: nftables.ChainTypeFilter, Policy: &policy,
			Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter,
		})
		return nil
	}
	x.Load(netnsenv.NFTables(drop))
	x.Inject(packet.SYNs(3, web))
	x.Load(netnsenv.NFTables(func(c *nftables.Conn) error {
		c.DelTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "later"})
		return nil
	}))
	x.Inject(packet.SYNs(2, web))
	if diff := x.Tally().Diff(observe.Tally{Entries: 2}); diff != "" {
		t.Errorf("3 packets into a DROP, 2 behind it (-want +got):\n%s", diff)
	}
}

// Packets injected into one host are in the other's table, path and capture when Inject returns.
func TestBothHostsOfAWireAreObserved(t *testing.T) {
	t.Parallel()
	near := ctexp.New(t, netnsenv.Config{
		Links:   []netnsenv.LinkConfig{{Prefixes: []netip.Prefix{netip.MustParsePrefix("198.18.0.1/24")}}},
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
	})
	far := ctexp.New(t, netnsenv.Config{Links: []netnsenv.LinkConfig{}})
	near.Join(far, netnsenv.Wire{
		A: netnsenv.LinkConfig{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.254/24")}},
		B: netnsenv.LinkConfig{
			Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")},
			Routes:   []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")},
		},
	})

	near.Inject(packet.Packets(packet.Echo(web.Src.Addr(), web.Dst.Addr(), 1, 1, nil)))

	for name, x := range map[string]*ctexp.Experiment{"near": near, "far": far} {
		if flows := x.Flows(); len(flows) != 1 || flows[0].Brief() != "icmp" {
			t.Errorf("%s: flows %v, want one with its answer seen", name, flows)
		}
	}
	var links []string
	for _, f := range far.Frames() {
		links = append(links, f.Link+" "+f.Dir.String())
	}
	if !slices.Equal(links, []string{"wire0 In", "wire0 Out"}) {
		t.Errorf("frames at the far host: %q", links)
	}
}

// reported returns statistics as the running kernel reports them.
func reported(s observe.Stats) observe.Stats {
	s.NoChainTooLong = !kernel.ChainTooLong.Here()
	return s
}

// inBubble is a fake with the Deadline of a test in a bubble.
type inBubble struct {
	*redtest.TB
	t *testing.T
}

func (b inBubble) Deadline() (time.Time, bool) { return b.t.Deadline() }

// In a bubble of testing/synctest nothing can be asked of the kernel, and New says so.
func TestBubbleOfSynctestIsAnError(t *testing.T) {
	t.Parallel()
	var log string
	synctest.Test(t, func(t *testing.T) {
		log = new(redtest.TB).Run(func(f *redtest.TB) { ctexp.New(inBubble{f, t}, netnsenv.Config{}) })
	})
	if !strings.HasPrefix(log, "ctexp.New: testing/synctest has a clock of its own") {
		t.Errorf("the log: %s", log)
	}
}
