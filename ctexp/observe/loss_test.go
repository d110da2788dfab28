package observe

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

func TestLossNamesTheMostFrequentRules(t *testing.T) {
	t.Parallel()
	drop := func(text string, packets, traced uint64) Drop {
		return Drop{Hook: nf.Input, Traced: traced, Rule: Rule{
			Backend: "nft", Family: "ip", Table: "u", Chain: "in", Kind: KindRule, Text: text, Counted: packets > 0, Packets: packets,
		}}
	}
	counts := arrive(9, 9)
	for _, name := range []string{"security/input", "nat/input", "confirm/input", "confirmed/input"} {
		counts[name] = 0
	}
	p := pathOf(func(p nf.Probe) uint64 { return counts[p.Name] })
	p.Drops = []Drop{drop("a", 1, 0), drop("b", 0, 5), drop("c", 2, 0), drop("d", 0, 0), drop("e", 1, 0)}
	early, late := p.Drops[0], p.Drops[0]
	early.Priority, late.Hook = nf.PriorityMangle, nf.Output
	p.Drops = append(p.Drops, early, late)
	want := "dropped by nft ip u in: b [dropped 5]; nft ip u in: c [packets 2 bytes 0]; nft ip u in: a [packets 1 bytes 0]; 1 more" +
		"; else dropped by a rule, the only candidate: nft ip u in: d" // what a counted may have been elsewhere
	if l := p.Losses(); len(l) != 1 || l[0].Why() != want {
		t.Errorf("got  %v\nwant %s", l, want)
	}
	after := slices.Clone(p.Drops)
	after[1].Traced = 7
	if d := subList(after, p.Drops, Drop.key, (*Drop).sub); d[1].Traced != 2 || d[0].Rule.Packets != 0 {
		t.Errorf("difference %v", d)
	}
}

// A rule that a trace has shown to drop tells how many it dropped, unless its own counter says the same.
func TestTracedRuleTellsHowManyItDropped(t *testing.T) {
	t.Parallel()
	rule := Rule{Backend: "nft", Family: "ip", Table: "u", Chain: "in", Kind: KindRule, Text: "drop"}
	counted := rule
	counted.Counted, counted.Packets = true, 2
	const text = "dropped by nft ip u in: drop"
	for _, c := range []struct {
		cause Cause
		want  string
	}{
		{Cause{}, "dropped by a rule"},
		{Cause{Rule: rule}, text},
		{Cause{Rule: rule, Packets: 2}, text},
		{Cause{Rule: rule, Traced: true, Packets: 1}, text},
		{Cause{Rule: rule, Traced: true, Packets: 2}, text + " [dropped 2]"},
		{Cause{Rule: counted, Traced: true, Packets: 1}, text + " [packets 2 bytes 0] [dropped 1]"},
	} {
		c.cause.Kind, c.cause.Certain = CauseRule, true
		if got := c.cause.String(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestLossesBeforeTheHooksAreExplained(t *testing.T) {
	t.Parallel()
	counts := map[string]uint64{}
	for _, p := range nf.PathProbes(nf.IPv4) {
		if p.Hook == nf.Prerouting || p.Hook == nf.Input {
			counts[p.Name] = 7
		}
	}
	came := func(n uint64) map[nf.Family]uint64 { return map[nf.Family]uint64{nf.IPv4: n} }
	drop := Drop{Hook: nf.Ingress, Rule: Rule{Backend: "nft", Family: "netdev", Table: "u", Chain: "in", Kind: KindRule, Text: "drop", Counted: true, Packets: 2, Bytes: 80}}
	uncounted := drop
	uncounted.Rule.Counted, uncounted.Rule.Packets, uncounted.Rule.Bytes = false, 0, 0
	elsewhere := drop
	elsewhere.Hook = nf.Input
	noErrors := map[string]uint64{}
	for name, c := range map[string]struct {
		path Path
		want []string
	}{
		"as many as came":      {Path{Arrived: came(7)}, nil},
		"more than came":       {Path{Arrived: came(5)}, nil}, // those of the loopback link
		"nobody has counted":   {Path{MIB: map[string]uint64{"IpInHdrErrors": 1}}, nil},
		"a checksum":           {Path{MIB: map[string]uint64{"IpExtInCsumErrors": 3}}, []string{"3 of 10 lost between link/ingress and defrag/prerouting: a bad checksum of the IP header (IpExtInCsumErrors +3)"}},
		"IPv6":                 {Path{MIB: map[string]uint64{"Ip6InTruncatedPkts": 1}}, []string{"1 of 1 lost between ip6/link/ingress and ip6/defrag/prerouting: fewer bytes than the IPv6 header says (Ip6InTruncatedPkts +1)"}},
		"a checksum, counted":  {Path{Arrived: came(10), MIB: map[string]uint64{"IpExtInCsumErrors": 3}}, []string{"3 of 10 lost between link/ingress and defrag/prerouting: a bad checksum of the IP header (IpExtInCsumErrors +3)"}},
		"nobody knows":         {Path{Arrived: came(9)}, []string{"2 of 9 lost between link/ingress and defrag/prerouting: dropped by a rule, a malformed header, or an unknown reason"}},
		"no malformed header":  {Path{Arrived: came(9), MIB: noErrors}, []string{"2 of 9 lost between link/ingress and defrag/prerouting: dropped by a rule, or an unknown reason"}},
		"an Ethernet":          {Path{Arrived: came(9), MIB: noErrors, OtherHosts: true}, []string{"2 of 9 lost between link/ingress and defrag/prerouting: dropped by a rule, for another host on the link, or an unknown reason"}},
		"no rule":              {Path{Arrived: came(9), MIB: noErrors, OtherHosts: true, Drops: []Drop{}}, []string{"2 of 9 lost between link/ingress and defrag/prerouting: for another host on the link, or an unknown reason"}},
		"some are known":       {Path{Arrived: came(9), MIB: map[string]uint64{"IpExtInTruncatedPkts": 1}}, []string{"2 of 9 lost between link/ingress and defrag/prerouting: fewer bytes than the IP header says (IpExtInTruncatedPkts +1); else dropped by a rule, or an unknown reason"}},
		"a rule":               {Path{Arrived: came(9), Drops: []Drop{elsewhere, drop}}, []string{"2 of 9 lost between link/ingress and defrag/prerouting: dropped by nft netdev u in: drop [packets 2 bytes 80]"}},
		"a rule that may have": {Path{Arrived: came(9), MIB: noErrors, Drops: []Drop{uncounted}}, []string{"2 of 9 lost between link/ingress and defrag/prerouting: dropped by a rule, the only candidate: nft netdev u in: drop"}},
		"a rule, or a header":  {Path{Arrived: came(9), MIB: map[string]uint64{"IpInHdrErrors": 1}, Drops: []Drop{uncounted}}, []string{"2 of 9 lost between link/ingress and defrag/prerouting: a malformed header (IpInHdrErrors +1); else dropped by a rule, the only candidate: nft netdev u in: drop"}},
		"a rule, or a reason":  {Path{Arrived: came(9), Drops: []Drop{uncounted}}, []string{"2 of 9 lost between link/ingress and defrag/prerouting: a malformed header, or dropped by nft netdev u in: drop"}},
		"some by a rule":       {Path{Arrived: came(10), MIB: map[string]uint64{"IpInHdrErrors": 1}, Drops: []Drop{drop}}, []string{"3 of 10 lost between link/ingress and defrag/prerouting: a malformed header (IpInHdrErrors +1); dropped by nft netdev u in: drop [packets 2 bytes 80]"}},
		"the kernel says":      {Path{Arrived: came(9), KernelDrops: []DropCount{{nf.IPv4, "OTHERHOST", "ip_rcv_core", 2}}}, []string{"2 of 9 lost between link/ingress and defrag/prerouting: for another host on the link (OTHERHOST 2)"}},
		"a flowtable":          {Path{Arrived: came(70), MayBypassHooks: true}, nil},
		"a flowtable, a rule":  {Path{Arrived: came(70), MayBypassHooks: true, Drops: []Drop{drop}}, []string{"2 of 70 lost between link/ingress and defrag/prerouting: dropped by nft netdev u in: drop [packets 2 bytes 80]"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pathOf(func(p nf.Probe) uint64 { return counts[p.Name] })
			c.path.Points = p.Points
			var got []string
			for _, l := range c.path.Losses() {
				got = append(got, l.String())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// The second of two phases has only what arrived and what the host sent in it.
func TestArrivedAndAttachedOfASecondPhase(t *testing.T) {
	t.Parallel()
	before := Path{Arrived: map[nf.Family]uint64{nf.IPv4: 3}, Attached: map[nf.Family]AttachedCount{nf.IPv4: {Postrouting: 1}, nf.IPv6: {Input: 2}}}
	after := Path{Arrived: map[nf.Family]uint64{nf.IPv4: 5, nf.IPv6: 1}, Attached: map[nf.Family]AttachedCount{nf.IPv4: {Postrouting: 4}, nf.IPv6: {Input: 2}}}
	want := Path{Points: []Point{}, Arrived: map[nf.Family]uint64{nf.IPv4: 2, nf.IPv6: 1}, Attached: map[nf.Family]AttachedCount{nf.IPv4: {Postrouting: 3}}}
	if diff := cmp.Diff(want, after.Sub(before)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Each packet that was too big counts once: those that could not be forwarded in that loss, the others behind the last hook.
func TestPacketsTooBigBehindTheHooks(t *testing.T) {
	t.Parallel()
	counts := arrive(9, 7)
	p := pathOf(func(p nf.Probe) uint64 { return counts[p.Name] })
	p.MIB = map[string]uint64{fragFails4: 3}
	before := p.Losses()
	for _, name := range []string{"mangle/postrouting", "nat/postrouting", "confirm/postrouting", "confirmed/postrouting"} {
		counts[name] = 7
	}
	q := pathOf(func(p nf.Probe) uint64 { return counts[p.Name] })
	q.MIB = p.MIB
	for _, losses := range [][]Loss{before, q.Losses()} {
		n := uint64(0)
		for _, l := range losses {
			for _, c := range l.Causes {
				if c.Kind == CauseTooBig && c.Certain {
					n += min(c.Packets, l.Lost)
				}
			}
		}
		if n != 3 {
			t.Errorf("%d packets were too big in %v, want 3", n, losses)
		}
	}
}

// What a link drops may be of either family if both left. Each loss has one line, and the difference of two paths has what
// the second phase dropped.
func TestLossOnALinkMayBeOfEitherFamily(t *testing.T) {
	t.Parallel()
	for _, both := range []bool{false, true} {
		p := pathOf(func(p nf.Probe) uint64 {
			if p.Family == nf.IPv6 && !both || p.Hook == nf.Forward {
				return 0
			}
			return 5
		})
		p.LinkDrops = []LinkDrop{{"tun0", CauseQdisc, "pfifo dropped", 3}, {"tun0", CauseFarEnd, "tx_dropped", 1}}
		before := p
		before.LinkDrops = []LinkDrop{{"tun0", CauseQdisc, "pfifo dropped", 1}}
		want := []string{"4 of 5 lost between confirm/postrouting and link/egress: dropped by the queueing discipline of the link (tun0 pfifo dropped +3); not taken by the other end of the link (tun0 tx_dropped +1)"}
		if both {
			want[0] = strings.Replace(want[0], "of 5 lost between confirm/postrouting", "of 10 lost between confirm/postrouting and ip6/confirm/postrouting", 1)
		}
		var got []string
		for _, l := range p.Losses() {
			got = append(got, l.String())
			if l.Family == 0 != both {
				t.Errorf("both families: %t, and the loss is of %v", both, l.Family)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if n := strings.Count(p.String(), "pfifo dropped +3"); n != 1 {
			t.Errorf("the loss is drawn %d times:\n%v", n, p)
		}
		if diff := cmp.Diff([]LinkDrop{{"tun0", CauseQdisc, "pfifo dropped", 2}, {"tun0", CauseFarEnd, "tx_dropped", 1}}, p.Sub(before).LinkDrops); diff != "" {
			t.Errorf("second phase (-want +got):\n%s", diff)
		}
	}
}
