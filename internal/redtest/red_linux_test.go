package redtest_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/ctexp/peer"
	"github.com/ctexp/go-ctexp/internal/needs"
	"github.com/ctexp/go-ctexp/internal/redtest"
)

func TestMain(m *testing.M) { ctexp.Main(redtest.Tidy{M: m}) }

var (
	web     = packet.Flow{Src: netip.MustParseAddrPort("198.18.0.2:10000"), Dst: netip.MustParseAddrPort("192.0.2.1:80")}
	through = packet.Flow{Src: web.Src, Dst: netip.MustParseAddrPort("192.0.2.2:80")}
	both    = []nf.Probe{nf.RawPrerouting, nf.ManglePrerouting}
)

// answer is a question to an Experiment, after a SYN to the web was injected.
type answer struct {
	name string
	ask  func(x *ctexp.Experiment)
}

var answers = []answer{
	{"Tally", func(x *ctexp.Experiment) { x.Tally() }},
	{"Path", func(x *ctexp.Experiment) { x.Path() }},
	{"Stats", func(x *ctexp.Experiment) { x.Stats() }},
	{"Rules", func(x *ctexp.Experiment) { x.Rules() }},
	{"Flows", func(x *ctexp.Experiment) { x.Flows() }},
	{"Flow", func(x *ctexp.Experiment) { x.Flow(web.Tuple(nf.TCP)) }},
	{"Events", func(x *ctexp.Experiment) { x.Events() }},
	{"Life", func(x *ctexp.Experiment) { x.Life(web.Tuple(nf.TCP)) }},
	{"Frames", func(x *ctexp.Experiment) { x.Frames() }},
	{"Reasons", func(x *ctexp.Experiment) { x.Reasons() }},
	{"Trace", func(x *ctexp.Experiment) { x.Trace() }},
	{"Timeline", func(x *ctexp.Experiment) { x.Timeline() }},
	{"Expect", func(x *ctexp.Experiment) {
		x.Inject(packet.Packets(web.Nth(1).TCP(packet.TCP{Flags: packet.FlagACK}))) // nobody listens: the host answers with a RST
		x.Expect(packet.Match{Flags: packet.FlagRST})
	}},
	{"ExpectNothing", func(x *ctexp.Experiment) { x.ExpectNothing(packet.Match{Flags: packet.FlagFIN}) }},
}

// breakage is a way to make answers untrue.
type breakage struct {
	name string
	cfg  netnsenv.Config
	by   func(t *testing.T, x *ctexp.Experiment)
	says string // what an answer that depends on it says
	// breaks are the answers that depend on what is broken. The others must still be given.
	breaks []string
}

// shell runs a script in the Env. Its first word is a program that the machine may lack.
func shell(script string) func(*testing.T, *ctexp.Experiment) {
	program, _, _ := strings.Cut(script, " ")
	return func(t *testing.T, x *ctexp.Experiment) {
		t.Helper()
		if _, err := exec.LookPath(program); err != nil {
			needs.Check(t, &nf.UnsupportedError{Need: program, Hint: "install nftables and iproute2", Err: err})
		}
		if out, err := x.Env.Command(t.Context(), "sh", "-c", script).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
}

func sysctl(name, value string) func(*testing.T, *ctexp.Experiment) {
	return func(t *testing.T, x *ctexp.Experiment) {
		t.Helper()
		if err := x.Env.SetSysctl(name, value); err != nil {
			t.Fatal(err)
		}
	}
}

// inTurn does one after the other, with packets in between.
func inTurn(steps ...func(*testing.T, *ctexp.Experiment)) func(*testing.T, *ctexp.Experiment) {
	return func(t *testing.T, x *ctexp.Experiment) {
		t.Helper()
		for _, step := range steps {
			step(t, x)
			x.Inject(packet.SYNs(20, web.Nth(100)))
		}
	}
}

var resetCounters = shell("nft reset counters >/dev/null")

const events, logInvalid = "net.netfilter.nf_conntrack_events", "net.netfilter.nf_conntrack_log_invalid"

var ofEvents = []string{"Tally", "Events", "Life", "Timeline"}

var breakages = []breakage{
	{
		name: "events switched off", by: sysctl(events, "0"), says: "nf_conntrack_events was 1 when the Observer was opened, and then 0",
		breaks: ofEvents,
	},
	{
		name: "events off and on again", by: inTurn(sysctl(events, "0"), sysctl(events, "1")), says: "nf_conntrack_events was 1 when the Observer was opened, and then 0",
		breaks: ofEvents,
	},
	{
		name: "events off by a program", by: shell("echo 0 >/proc/sys/net/netfilter/nf_conntrack_events"), says: "nf_conntrack_events was 1",
		breaks: ofEvents,
	},
	{
		name: "events masked by a rule", by: func(_ *testing.T, x *ctexp.Experiment) {
			x.Load(netnsenv.NFT("table ip n { chain c { type filter hook prerouting priority 0; ct event set destroy; }; }"))
		},
		says: "a rule keeps entries from having events: nft ip n c", breaks: ofEvents,
	},
	{
		name: "INVALID not logged", by: sysctl(logInvalid, "0"), says: "nf_conntrack_log_invalid was 255 when the Observer was opened, and then 0",
		breaks: []string{"Reasons", "Timeline"},
	},
	{
		name: "logs elsewhere", by: sysctl("net.netfilter.nf_log.2", "NONE"), says: "nf_log.2 was nfnetlink_log when the Observer was opened, and then NONE",
		breaks: []string{"Reasons", "Timeline"},
	},
	{
		name: "accounting off", cfg: netnsenv.Config{Sysctls: map[string]string{"net.netfilter.nf_conntrack_acct": "1"}},
		by: sysctl("net.netfilter.nf_conntrack_acct", "0"), says: "nf_conntrack_acct was 1 when the Observer was opened, and then 0",
		breaks: []string{"Flows", "Flow"},
	},
	{
		name: "timestamps off", by: sysctl("net.netfilter.nf_conntrack_timestamp", "0"), says: "nf_conntrack_timestamp was 1 when the Observer was opened, and then 0",
		breaks: []string{"Flows", "Flow"},
	},
	{
		name: "counters reset", by: resetCounters, says: "counters were reset during the experiment: ", breaks: []string{"Tally", "Path"},
	},
	{
		name: "counters reset, then more packets", by: inTurn(resetCounters, func(*testing.T, *ctexp.Experiment) {}), says: "counters were reset during the experiment: ",
		breaks: []string{"Tally", "Path"},
	},
	{
		name: "trace ended by a rule", by: func(_ *testing.T, x *ctexp.Experiment) {
			x.Load(netnsenv.NFT("table ip n { chain c { type filter hook prerouting priority -350; meta nftrace set 0; }; }"))
		},
		says: "a rule ends the trace of packets: nft ip n c: meta nftrace set 0", breaks: []string{"Trace", "Timeline"},
	},
	{
		name: "probe of a missing link", cfg: netnsenv.Config{Probes: []nf.Probe{{Name: "p", Hook: nf.Prerouting, Priority: -300, Match: nf.Match{In: "tun9"}}}},
		says: `there is no such link: the probe p is about "tun9"`, breaks: []string{"Tally"},
	},
	{
		name: "entries in the filler's zone", cfg: netnsenv.Config{
			Room:  netnsenv.Free(100),
			Rules: []netnsenv.Ruleset{netnsenv.NFT("table ip n { chain c { type filter hook prerouting priority -300; ct zone set 65535; }; }")},
		},
		says: "zone 65535, which belongs to the filler", breaks: []string{"Flows", "Events", "Life", "Timeline"},
	},
	{
		name: "closed", by: func(t *testing.T, x *ctexp.Experiment) {
			if err := x.Lab.Close(); err != nil {
				t.Fatal(err)
			}
		},
		says: "closed", breaks: names(),
	},
}

func names() (all []string) {
	for _, a := range answers {
		all = append(all, a.name)
	}
	return all
}

// Each answer that depends on what is broken is an error that says so, and each other answer is still given.
func TestEveryAnswerSaysWhatIsBroken(t *testing.T) {
	t.Parallel()
	for _, b := range breakages {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			fake := &redtest.TB{TestName: t.Name()}
			fake.Run(func(f *redtest.TB) {
				b.cfg.Trace = true
				x := ctexp.New(f, b.cfg)
				x.Inject(packet.Packets(packet.SYN(web), web.Nth(1).TCP(packet.TCP{Flags: packet.FlagSYN | packet.FlagFIN})))
				if b.by != nil {
					b.by(t, x)
				}
				for _, a := range answers {
					log, failed := f.Ask(func() { a.ask(x) })
					switch depends := slices.Contains(b.breaks, a.name); {
					case depends && (!failed || !strings.Contains(log, b.says)):
						t.Errorf("%s: failed %v, and the log is %q; want it to say %q", a.name, failed, log, b.says)
					case !depends && failed:
						t.Errorf("%s: failed, although it does not depend on it: %s", a.name, log)
					}
				}
			})
			needs.Check(t, fake.Lack())
		})
	}
}

// red runs a test that must fail, and demands the reason. done is set when the test has come to its end.
func red(t *testing.T, reason string, test func(f *redtest.TB)) {
	t.Helper()
	fake := &redtest.TB{TestName: t.Name()}
	log := fake.Run(test)
	switch {
	case fake.Skipped():
		needs.Check(t, fake.Lack())
	case !fake.Failed():
		t.Errorf("green, and the log is\n%s", log)
	case !strings.Contains(log, reason):
		t.Errorf("red, but the log does not say %q:\n%s", reason, log)
	}
}

// judge runs a test that must fail for a reason, or that must not fail, if there is none.
func judge(t *testing.T, reason string, test func(f *redtest.TB)) {
	t.Helper()
	if reason != "" {
		red(t, reason, test)
		return
	}
	fake := &redtest.TB{TestName: t.Name()}
	if log := fake.Run(test); fake.Failed() {
		t.Error(log)
	}
	needs.Check(t, fake.Lack())
}

// Where nothing was sent, dialled or run, absence is no answer. It is one if the test says that it is meant, or after
// anything that could have shown the contrary.
func TestAbsenceIsEarned(t *testing.T) {
	t.Parallel()
	questions := []answer{
		{"ExpectNothing", func(x *ctexp.Experiment) { x.ExpectNothing() }},
		{"Received", func(x *ctexp.Experiment) { x.Received() }},
		{"Flows", func(x *ctexp.Experiment) { x.Flows() }},
		{"Flow", func(x *ctexp.Experiment) { x.Flow(web.Tuple(nf.TCP)) }},
		{"Events", func(x *ctexp.Experiment) { x.Events() }},
		{"Life", func(x *ctexp.Experiment) { x.Life(web.Tuple(nf.TCP)) }},
		{"Frames", func(x *ctexp.Experiment) { x.Frames() }},
		{"Diff", func(x *ctexp.Experiment) {
			if d := x.Tally().Diff(observe.Tally{}); d != "" {
				x.Errorf("%s", d)
			}
		}},
		{"Diff of Sub", func(x *ctexp.Experiment) {
			before := x.Tally()
			if d := x.Tally().Sub(before).Diff(observe.Tally{}); d != "" {
				x.Errorf("%s", d)
			}
		}},
		{"TCP.ExpectNothing", func(x *ctexp.Experiment) { x.TCP(x.Env.Links()[0].Name(), web).ExpectNothing() }},
		{"UDP.ExpectNothing", func(x *ctexp.Experiment) { x.UDP(x.Env.Links()[0].Name(), web).ExpectNothing() }},
	}
	const vacuous = "nothing was sent, dialled or run"
	for _, q := range questions {
		t.Run(q.name, func(t *testing.T) {
			t.Parallel()
			red(t, vacuous, func(f *redtest.TB) {
				x := ctexp.New(f, netnsenv.Config{Silent: true})
				x.Inject(packet.SYNs(0, web))
				q.ask(x)
			})
			x := ctexp.New(t, netnsenv.Config{Silent: true})
			x.AllowVacuous()
			q.ask(x)
		})
	}
	for name, act := range map[string]func(x *ctexp.Experiment) error{
		"Inject":  func(x *ctexp.Experiment) error { x.Inject(packet.SYNs(1, web)); return nil },
		"Command": func(x *ctexp.Experiment) error { return x.Env.Command(t.Context(), "true").Run() },
		"Do":      func(x *ctexp.Experiment) error { return x.Env.Do(func() error { return nil }) },
		"Dial": func(x *ctexp.Experiment) error {
			conn, err := x.Env.Dial(t.Context(), "udp", "192.0.2.1:1")
			if err != nil {
				return err
			}
			return conn.Close()
		},
	} {
		t.Run("after "+name, func(t *testing.T) {
			t.Parallel()
			x := ctexp.New(t, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{
				netnsenv.NFT("table ip n { chain c { type filter hook input priority 0; drop; }; chain d { type filter hook output priority 0; drop; }; }")}})
			if err := act(x); err != nil {
				t.Fatal(err)
			}
			x.ExpectNothing()
			x.Flows()
		})
	}
}

// A question about a flow that was never on any wire is most likely about another one than was meant.
func TestFlowThatNeverWas(t *testing.T) {
	t.Parallel()
	for _, q := range []answer{
		{"Flow", func(x *ctexp.Experiment) { x.Flow(web.Nth(1).Tuple(nf.TCP)) }},
		{"Life", func(x *ctexp.Experiment) { x.Life(web.Nth(1).Tuple(nf.TCP)) }},
	} {
		red(t, "no packet and no event was ever about it", func(f *redtest.TB) {
			x := ctexp.New(f, netnsenv.Config{Silent: true})
			x.Inject(packet.SYNs(1, web))
			q.ask(x)
		})
	}
}

func TestNamesOfMissingLinks(t *testing.T) {
	t.Parallel()
	for _, q := range []answer{
		{"Frames", func(x *ctexp.Experiment) { x.Frames(packet.Match{In: "tun9"}) }},
		{"ExpectNothing", func(x *ctexp.Experiment) { x.ExpectNothing(packet.Match{Out: "tun9"}) }},
	} {
		red(t, "tun9", func(f *redtest.TB) {
			x := ctexp.New(f, netnsenv.Config{Silent: true})
			x.Inject(packet.SYNs(1, web))
			q.ask(x)
		})
	}
}

// The limit is one value of the whole host, which no test may change: the Observer is told another one.
func TestLimitThatIsAnother(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{})
	limit, err := x.Env.Sysctl("net.netfilter.nf_conntrack_max")
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if _, err := fmt.Sscan(limit, &n); err != nil {
		t.Fatal(err)
	}
	if _, err := observe.Open(t.Context(), x.Env, observe.Config{Limit: n + 1}); !errors.Is(err, observe.ErrLimitChanged) {
		t.Errorf("got %v", err)
	}
}

// What happened is told truly where the host did another thing than the test states.
func TestFalseStatements(t *testing.T) {
	t.Parallel()
	router := func(rules ...netnsenv.Ruleset) netnsenv.Config {
		return netnsenv.Config{Sysctls: map[string]string{"net.ipv4.ip_forward": "1"}, Rules: rules, Links: []netnsenv.LinkConfig{
			{Prefixes: []netip.Prefix{netip.MustParsePrefix("198.18.0.1/24")}}, {Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}},
		}}
	}
	want := func(x *ctexp.Experiment, w observe.Tally) {
		if d := x.Tally().Diff(w); d != "" {
			x.Errorf("%s", d)
		}
	}
	for name, c := range map[string]struct {
		reason string
		test   func(f *redtest.TB)
	}{
		// Evictions are the rule there; or, because of another test's full table, the collector has taken some of it.
		"a table full of unreplied entries drops": {"filler", func(f *redtest.TB) {
			x := ctexp.New(f, netnsenv.Config{Room: netnsenv.Free(7).Unreplied(), Silent: true, Probes: both})
			x.Inject(packet.SYNs(10, web))
			want(x, observe.Tally{Packets: map[string]uint64{"raw/prerouting": 10, "mangle/prerouting": 7}, Entries: 7, Dropped: 3})
		}},
		"masquerade keeps the entry when its link goes down": {"removed 1", func(f *redtest.TB) {
			x := ctexp.New(f, router(netnsenv.NFT("table ip n { chain c { type nat hook postrouting priority 100; oifname tun1 masquerade; }; }")))
			x.Inject(packet.Packets(packet.SYN(through)))
			shell("ip link set tun1 down")(t, x)
			x.Await("the end of the entry", func() bool { n, _ := x.Env.Table().Count(); return n == 0 })
			want(x, observe.Tally{Entries: 1})
			f.Logf("%v", x.Tally())
		}},
		"entries that were aged are there": {"aged 5", func(f *redtest.TB) {
			x := ctexp.New(f, netnsenv.Config{Silent: true})
			x.Inject(packet.SYNs(5, web))
			x.Age(500_000_000_000)
			want(x, observe.Tally{Entries: 5})
			f.Logf("%v", x.Tally())
		}},
		"the second phase before the first": {"Sub in the wrong order", func(f *redtest.TB) {
			x := ctexp.New(f, netnsenv.Config{Probes: []nf.Probe{nf.RawPrerouting}})
			before := x.Tally()
			x.Inject(packet.SYNs(5, web))
			if d := before.Sub(x.Tally()).Diff(observe.Tally{Packets: map[string]uint64{"raw/prerouting": 0}}); d != "" {
				f.Errorf("%s", d)
			}
		}},
		"the filler's zone is empty where there is no filler": {"zone=65535", func(f *redtest.TB) {
			x := ctexp.New(f, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{netnsenv.NFT("table ip n { chain c { type filter hook prerouting priority -300; ct zone set 65535; }; }")}})
			x.Inject(packet.Packets(packet.SYN(web)))
			if flows := x.Flows(); len(flows) != 0 {
				f.Errorf("%v", flows)
			}
		}},
		"no rules where the table has the name of ours": {"nft ip ctexp d: tcp dport 80 counter drop [packets 5", func(f *redtest.TB) {
			x := ctexp.New(f, netnsenv.Config{Silent: true, Rules: []netnsenv.Ruleset{netnsenv.NFT("table ip ctexp { chain d { type filter hook input priority 0; tcp dport 80 counter drop; }; }")}})
			x.Inject(packet.SYNs(5, web))
			if rules := x.Rules(); len(rules) != 0 {
				f.Errorf("%v", rules)
			}
		}},
		"nothing comes where a shaper holds it": {"a packet came", func(f *redtest.TB) {
			x := ctexp.New(f, router())
			shell("tc qdisc add dev tun1 root tbf rate 8kbit burst 100 limit 10000")(t, x)
			x.Inject(packet.SYNs(6, through))
			if n := len(x.Received()); n != 6 {
				f.Errorf("%d received", n)
			}
			x.Inject(packet.SYNs(6, through.Nth(6)))
			x.ExpectNothing()
		}},
		"nothing comes where a shaper holds it for good": {"by the qdisc tbf of tun1", func(f *redtest.TB) {
			x := ctexp.New(f, router())
			shell("tc qdisc add dev tun1 root tbf rate 8bit burst 100 limit 10000")(t, x)
			x.Inject(packet.SYNs(6, through))
			x.Inbox.Patience = 1 // the shaper takes days
			x.ExpectNothing(packet.Match{Flags: packet.FlagFIN})
		}},
		"the end of a connection got no retransmission": {"Flags [S.]", func(f *redtest.TB) {
			x := ctexp.New(f, netnsenv.Config{})
			l, err := x.Env.Listen(t.Context(), "tcp", "192.0.2.1:80")
			if err != nil {
				f.Fatalf("%v", err)
			}
			defer l.Close()
			c := x.TCP("tun0", web)
			c.Send(segment(packet.FlagSYN))
			c.Expect(segment(packet.FlagSYN | packet.FlagACK))
			x.Await("the retransmission", func() bool { return len(x.Frames()) >= 3 })
			c.ExpectNothing()
		}},
		"two policies are the same for no packets": {"no packets", func(f *redtest.TB) {
			drop := netnsenv.NFT("table ip n { chain c { type filter hook input priority 0; drop; }; }")
			c, err := ctexp.Compare(context.Background(), netnsenv.Config{}, []ctexp.Policy{{Rules: []netnsenv.Ruleset{drop}}, {}}, packet.SYNs(0, web))
			if err != nil {
				f.Fatalf("%v", err)
			}
			f.Logf("no difference: %q", c.Diff())
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			red(t, c.reason, c.test)
		})
	}
}

// The table of docs/trust.md has a row for each breakage, with the answers that depend on it.
func TestTrustListsEveryBreakage(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/trust.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range breakages {
		row := "| " + b.name + " |"
		for _, a := range answers {
			cell := " – |"
			if slices.Contains(b.breaks, a.name) {
				cell = " E |"
			}
			row += cell
		}
		if !strings.Contains(string(doc), row+"\n") {
			t.Errorf("docs/trust.md lacks the row\n%s", row)
		}
	}
}

func segment(flags packet.TCPFlags) peer.Segment { return peer.Segment{Flags: flags} }
