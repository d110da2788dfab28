package netnsenv_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Logging of the reasons is on unless the Config turns it off. Sysctls of the Config override it.
func TestReasonsAreLogged(t *testing.T) {
	t.Parallel()
	names := []string{"net.netfilter.nf_log.2", "net.netfilter.nf_log.10", "net.netfilter.nf_conntrack_log_invalid"}
	read := func(t *testing.T, cfg netnsenv.Config) []string {
		e := open(t, cfg)
		var values []string
		for _, name := range names {
			v, err := e.Sysctl(name)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, v)
		}
		return values
	}
	bare := read(t, netnsenv.Config{NoReasons: true})
	for _, c := range []struct {
		name string
		cfg  netnsenv.Config
		want []string
	}{
		{"by default", netnsenv.Config{}, []string{"nfnetlink_log", "nfnetlink_log", "255"}},
		{"not", netnsenv.Config{NoReasons: true}, []string{bare[0], bare[1], "0"}},
		{"of UDP alone", netnsenv.Config{Sysctls: map[string]string{names[2]: "17"}}, []string{"nfnetlink_log", "nfnetlink_log", "17"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, read(t, c.cfg)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if bare[0] == "nfnetlink_log" {
		t.Errorf("without reasons nf_log.2 is %q", bare[0])
	}
}

// With Trace there are two chains that enable tracing, before all others; without it none.
func TestTraceBeginsBeforeAllRules(t *testing.T) {
	t.Parallel()
	for _, trace := range []bool{false, true} {
		e := open(t, netnsenv.Config{Trace: trace})
		c, err := e.NFTables()
		if err != nil {
			t.Fatal(err)
		}
		chains, err := c.ListChains()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range chains {
			if c.Priority != nil && *c.Priority == -402 {
				got = append(got, c.Name)
			}
		}
		slices.Sort(got)
		var want []string
		if trace {
			want = []string{"trace_output", "trace_prerouting"}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("trace %v (-want +got):\n%s", trace, diff)
		}
	}
}

// A probe counts the packets that meet all its conditions.
func TestEachConditionOfAProbeSelects(t *testing.T) {
	t.Parallel()
	reply := web.Nth(1)
	known := nf.Entry{
		Orig: reply.Reverse().Tuple(nf.UDP), Reply: reply.Tuple(nf.UDP), Timeout: time.Minute, Mark: 0x15,
		Status: nf.Confirmed | nf.SeenReply | nf.Assured,
	}
	packets := []packet.Packet{packet.SYN(web), web6.UDP(nil), reply.UDP(nil), packet.RST(web.Nth(2))}
	want := map[string]uint64{}
	cfg := netnsenv.Config{Silent: true, NoPath: true, Links: []netnsenv.LinkConfig{{Prefixes: dual}, {}}}
	for _, c := range []struct {
		name  string
		probe nf.Probe
		want  uint64
	}{
		{"all", nf.Probe{}, 4},
		{"IPv4", nf.Probe{Family: nf.IPv4}, 3},
		{"IPv6", nf.Probe{Family: nf.IPv6}, 1},
		{"its link", nf.Probe{Match: nf.Match{In: "tun0"}}, 4},
		{"another link", nf.Probe{Match: nf.Match{In: "tun1"}}, 0},
		{"source", nf.Probe{Match: nf.Match{Src: netip.PrefixFrom(web6.Src.Addr(), 64)}}, 1},
		{"destination", nf.Probe{Match: nf.Match{Dst: netip.PrefixFrom(web.Dst.Addr(), 32)}}, 3},
		{"another destination", nf.Probe{Match: nf.Match{Dst: netip.PrefixFrom(web.Dst.Addr().Next(), 32)}}, 0},
		{"TCP", nf.Probe{Match: nf.Match{Proto: nf.TCP}}, 2},
		{"UDP", nf.Probe{Match: nf.Match{Proto: nf.UDP}}, 2},
		{"source port", nf.Probe{Match: nf.Match{Proto: nf.UDP, SrcPort: reply.Src.Port()}}, 1},
		{"destination port", nf.Probe{Match: nf.Match{Proto: nf.TCP, DstPort: web.Dst.Port()}}, 2},
		{"flags", nf.Probe{Match: nf.Match{Proto: nf.TCP, Flags: packet.FlagSYN}}, 1},
		{"flags without others", nf.Probe{Match: nf.Match{Proto: nf.TCP, Flags: packet.FlagSYN, FlagsMask: packet.FlagSYN | packet.FlagACK}}, 1},
		{"no flag of some", nf.Probe{Match: nf.Match{Proto: nf.TCP, FlagsMask: packet.FlagACK | packet.FlagRST}}, 1},
		{"other flags", nf.Probe{Match: nf.Match{Proto: nf.TCP, Flags: packet.FlagACK}}, 0},
		{"another destination port", nf.Probe{Match: nf.Match{Proto: nf.TCP, DstPort: web.Dst.Port() + 1}}, 0},
		{"new", nf.Probe{State: nf.StateNew}, 2},
		{"established", nf.Probe{State: nf.StateEstablished}, 1},
		{"new or invalid", nf.Probe{State: nf.StateNew | nf.StateInvalid}, 3},
		{"assured", nf.Probe{Status: nf.Assured | nf.SeenReply}, 1},
		{"assured and NAT", nf.Probe{Status: nf.Assured | nf.SrcNAT}, 0},
		{"mark", nf.Probe{Mark: 0xf5, MarkMask: 0xf}, 1},
		{"another mark", nf.Probe{Mark: 5, MarkMask: 0xff}, 0},
		{"original", nf.Probe{Dir: nf.Original}, 2},
		{"reply", nf.Probe{Dir: nf.Reply}, 1},
		{"reply of TCP", nf.Probe{Dir: nf.Reply, Match: nf.Match{Proto: nf.TCP}}, 0},
	} {
		c.probe.Name, c.probe.Hook, c.probe.Priority = c.name, nf.Prerouting, nf.PriorityMangle
		cfg.Probes = append(cfg.Probes, c.probe)
		want[c.name] = c.want
	}
	e := open(t, cfg)
	create(t, e, known)
	obs, err := observe.Open(t.Context(), e, observe.Config{Probes: cfg.Probes, NoFrames: true})
	if err != nil {
		t.Fatal(err)
	}
	defer obs.Close()

	send(t, e, packets...)

	got, err := obs.Tally(t.Context())
	if diff := cmp.Diff(want, got.Packets); diff != "" || err != nil {
		t.Errorf("%v, counts (-want +got):\n%s", err, diff)
	}
}

// The path of an Env is that of the families and of the conntrack that it has.
func TestPathIsOfWhatTheEnvHas(t *testing.T) {
	t.Parallel()
	four, six := nf.PathProbes(nf.IPv4), nf.PathProbes(nf.IPv6)
	var off []nf.Probe
	for _, p := range four {
		if !p.BehindConfirm() {
			off = append(off, p)
		}
	}
	for name, c := range map[string]struct {
		cfg  netnsenv.Config
		want []nf.Probe
	}{
		"IPv4":             {netnsenv.Config{}, four},
		"both":             {netnsenv.Config{Links: []netnsenv.LinkConfig{{Prefixes: dual}}}, append(six, four...)},
		"without a path":   {netnsenv.Config{NoPath: true}, nil},
		"conntrack is off": {netnsenv.Config{Conntrack: netnsenv.Off}, off},
	} {
		got := open(t, c.cfg).PathProbes()
		byName := cmpopts.SortSlices(func(a, b nf.Probe) bool { return a.Name < b.Name })
		if diff := cmp.Diff(c.want, got, byName, cmpopts.EquateComparable(netip.Prefix{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: probes (-want +got):\n%s", name, diff)
		}
	}
}
