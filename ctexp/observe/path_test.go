package observe

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/golden"
)

// pathOf returns a path of all standard probes; count returns the packets of each.
func pathOf(count func(nf.Probe) uint64) Path {
	var p Path
	for _, f := range []nf.Family{nf.IPv4, nf.IPv6} {
		for _, probe := range nf.PathProbes(f) {
			p.Points = append(p.Points, Point{Probe: probe, Packets: count(probe)})
		}
	}
	return p
}

// arrive returns the counts of packets to the host: before of them at the probes before conntrack, behind of them
// after it.
func arrive(before, behind uint64) map[string]uint64 {
	counts := map[string]uint64{}
	for _, p := range nf.PathProbes(nf.IPv4) {
		switch {
		case p.Hook != nf.Prerouting && p.Hook != nf.Input:
		case p.BehindConntrack():
			counts[p.Name] = behind
		default:
			counts[p.Name] = before
		}
	}
	return counts
}

// fullTable is the path of 10 SYNs to a silent host with room for 7.
func fullTable() Path {
	counts := arrive(10, 7)
	p := pathOf(func(p nf.Probe) uint64 { return counts[p.Name] })
	p.Dropped, p.Silenced = 3, 7
	return p
}

func TestLossesAreExplained(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		counts map[string]uint64
		path   Path // its statistics
		want   []string
	}{
		{"nothing happened", nil, Path{}, nil},
		{"table full", arrive(10, 7), Path{Dropped: 3},
			[]string{"3 of 10 lost between conntrack/prerouting and mangle/prerouting: conntrack table full (drop +3)"}},
		{"table full and a rule", arrive(10, 5), Path{Dropped: 3},
			[]string{"5 of 10 lost between conntrack/prerouting and mangle/prerouting: conntrack table full (drop +3); else dropped by a rule, or an unknown reason"}},
		{"a drop explains one loss", map[string]uint64{"conntrack/prerouting": 3, "conntrack/output": 2}, Path{Dropped: 3},
			[]string{
				"3 of 3 lost between conntrack/prerouting and mangle/prerouting: conntrack table full (drop +3)",
				"2 of 2 lost between conntrack/output and mangle/output: dropped by a rule, or an unknown reason",
			}},
		{"raw rule", map[string]uint64{"raw/prerouting": 4, "conntrack/prerouting": 1, "mangle/prerouting": 1, "nat/prerouting": 1, "filter/prerouting": 1, "end/prerouting": 1, "mangle/input": 1, "filter/input": 1, "security/input": 1, "nat/input": 1, "confirm/input": 1, "confirmed/input": 1}, Path{},
			[]string{"3 of 4 lost between raw/prerouting and conntrack/prerouting: dropped by a rule, or an unknown reason"}},
		{"fragments", map[string]uint64{"defrag/prerouting": 2, "raw/prerouting": 1, "conntrack/prerouting": 1, "mangle/prerouting": 1, "nat/prerouting": 1, "filter/prerouting": 1, "end/prerouting": 1, "mangle/forward": 1, "filter/forward": 1, "security/forward": 1, "end/forward": 1, "mangle/postrouting": 1, "nat/postrouting": 1, "confirm/postrouting": 1, "confirmed/postrouting": 1}, Path{},
			[]string{"1 of 2 lost between defrag/prerouting and raw/prerouting: fragments reassembled or incomplete, dropped by a rule, or an unknown reason"}},
		{"no route", map[string]uint64{"end/prerouting": 2}, Path{},
			[]string{"2 of 2 lost between end/prerouting and mangle/input or mangle/forward: no route, the source is not reachable by that link (rp_filter), a martian address, or not for this host, which does not forward"}},
		{"invalid", map[string]uint64{"confirm/input": 2, "confirmed/input": 1}, Path{Invalid: 1},
			[]string{"1 of 2 without an entry between confirm/input and confirmed/input: invalid +1"}},
		{"untracked", map[string]uint64{"confirm/postrouting": 2}, Path{},
			[]string{"2 of 2 without an entry between confirm/postrouting and confirmed/postrouting: untracked, or conntrack is off"}},
		{"a rule, or a helper", map[string]uint64{"confirm/postrouting": 2}, Path{HelpersUntold: true, Passed: map[string]uint64{}},
			[]string{"2 of 2 lost between confirm/postrouting and confirmed/postrouting: dropped by a rule, an unknown reason, or dropped by a conntrack helper"}},
		{"not all were dropped", map[string]uint64{"confirm/postrouting": 5, "confirmed/postrouting": 1}, Path{Passed: map[string]uint64{"confirm/postrouting": 3}},
			[]string{
				"2 of 5 lost between confirm/postrouting and confirmed/postrouting: dropped by a rule, or an unknown reason",
				"2 of 5 without an entry between confirm/postrouting and confirmed/postrouting: untracked, or conntrack is off",
			}},
		{"no entry in one of two hooks", map[string]uint64{"confirm/input": 2, "confirm/postrouting": 2}, Path{InsertFailed: 3, Passed: map[string]uint64{}},
			[]string{
				"2 of 2 lost between confirm/input and confirmed/input: insert_failed +1: another entry has its tuple, as when NAT has no port left; else dropped by a rule, or an unknown reason",
				"2 of 2 lost between confirm/postrouting and confirmed/postrouting: insert_failed +1: another entry has its tuple, as when NAT has no port left; else dropped by a rule, or an unknown reason",
			}},
		{"in one of two hooks nothing is certain", map[string]uint64{"confirm/input": 2, "confirm/postrouting": 2}, Path{InsertFailed: 2, Passed: map[string]uint64{}},
			[]string{
				"2 of 2 lost between confirm/input and confirmed/input: dropped by a rule, an unknown reason, or insert_failed",
				"2 of 2 lost between confirm/postrouting and confirmed/postrouting: dropped by a rule, an unknown reason, or insert_failed",
			}},
		{"forwarded and own", map[string]uint64{"end/forward": 2, "end/output": 3, "mangle/postrouting": 4}, Path{},
			[]string{
				"1 of 5 lost between end/forward and end/output and mangle/postrouting: no route, too big for the next link, or an unknown reason",
				"4 of 4 lost between mangle/postrouting and nat/postrouting: dropped by a rule, or an unknown reason",
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := pathOf(func(p nf.Probe) uint64 { return c.counts[p.Name] })
			p.Dropped, p.Invalid, p.InsertFailed, p.HelpersUntold = c.path.Dropped, c.path.Invalid, c.path.InsertFailed, c.path.HelpersUntold
			p.Passed = c.path.Passed
			var got []string
			for _, l := range p.Losses() {
				got = append(got, l.String())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSubOfPaths(t *testing.T) {
	t.Parallel()
	after := fullTable()
	after.Points[1].Packets, after.Dropped, after.Silenced = 25, 5, 9
	got := after.Sub(fullTable())
	want := pathOf(func(p nf.Probe) uint64 {
		if p == nf.RawPrerouting {
			return 15
		}
		return 0
	})
	want.Dropped, want.Silenced = 2, 2
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDiagramOfAFullTable(t *testing.T) {
	t.Parallel()
	golden.Check(t, "path-full-table.txt", fullTable().String())
}

// Packets of both families that are lost at every place.
func TestDiagramOfARouter(t *testing.T) {
	t.Parallel()
	n := uint64(20000)
	p := pathOf(func(p nf.Probe) uint64 {
		if n -= 7; p.Hook == nf.Forward && p.Priority < 0 {
			n -= 500
		}
		return n
	})
	p.Dropped, p.Invalid, p.Silenced = 9, 2, 1
	golden.Check(t, "path-router.txt", p.String())
}

func TestDiagramOfNothing(t *testing.T) {
	t.Parallel()
	if got := (Path{}).String(); got != "no packet met a probe\n" {
		t.Errorf("got %q", got)
	}
}

func TestDiagramOfIPv6WithoutProbes(t *testing.T) {
	t.Parallel()
	p := Path{Arrived: map[nf.Family]uint64{nf.IPv6: 2}}
	for _, probe := range nf.PathProbes(nf.IPv4) {
		p.Points = append(p.Points, Point{Probe: probe})
	}
	want := "ipv6 ingress      link 2\n                  2 not followed: " + noIPv6 + "\n"
	if got := p.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if diff := cmp.Diff([]string{"2 IPv6 packets not followed: " + noIPv6}, p.Notes()); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
}

// IPv6 packets are only worth a word if those of IPv4 are followed.
func TestDiagramWithoutAnyProbes(t *testing.T) {
	t.Parallel()
	p := Path{Arrived: map[nf.Family]uint64{nf.IPv6: 2}}
	if got, want := p.String(), "no packet met a probe\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	p.Points = []Point{{Probe: nf.RawPrerouting}, {Probe: nf.RawPrerouting.Of(nf.IPv6)}}
	if got, want := p.String(), "no packet met a probe\n"; got != want {
		t.Errorf("with a probe of each family: got\n%swant\n%s", got, want)
	}
}

// Every cause that a path may have.
func TestDiagramOfManyCauses(t *testing.T) {
	t.Parallel()
	counts := arrive(20, 20)
	for name, n := range map[string]uint64{
		"mangle/input": 18, "filter/input": 18, "security/input": 15, "nat/input": 15, "confirm/input": 15, "confirmed/input": 10,
	} {
		counts[name] = n
	}
	p := pathOf(func(p nf.Probe) uint64 { return counts[p.Name] })
	p.Invalid, p.ICMPErrors = 4, 1
	p.MIB = map[string]uint64{"IpExtInNoRoutes": 1, "IpExtInCsumErrors": 2}
	p.Drops = []Drop{{
		Hook: nf.Input,
		Rule: Rule{Backend: "nft", Family: "ip", Table: "u", Chain: "in", Kind: KindRule, Text: "tcp dport 80 drop", Counted: true, Packets: 3, Bytes: 120},
	}}
	p.Reasons = []ReasonCount{
		{Family: nf.IPv4, Proto: nf.TCP, Text: "SEQ is over upper bound N (over the window of the receiver)", Packets: 2},
		{Family: nf.IPv4, Proto: nf.TCP, Text: "packet (index 0) in dir 0 ignored, state ESTABLISHED", Packets: 1},
		{Family: nf.IPv4, Proto: nf.UDP, Text: "bad checksum", Packets: 1},
	}
	golden.Check(t, "path-causes.txt", p.String())
}

// What has not changed is not in the difference.
func TestSubLeavesOutWhatIsNotNew(t *testing.T) {
	t.Parallel()
	before := Path{LinkDrops: []LinkDrop{{"tun0", CauseQdisc, "pfifo dropped", 3}}, Waiting: []nf.Waiting{{Packets: 2}}}
	if d := before.Sub(before); len(d.LinkDrops)+len(d.Waiting) > 0 {
		t.Errorf("the difference of a Path and itself has %v and %v", d.LinkDrops, d.Waiting)
	}
}
