package observe

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Path is how many packets met each of the standard probes, with what explains where packets were lost.
type Path struct {
	Points []Point // family by family, in the order in which packets meet them
	// Arrived is the number of packets of each family that arrived on the links of the namespace; nil if they were
	// not counted.
	Arrived map[nf.Family]uint64
	// EgressDropped is the number of packets of each family that rules at the hook egress took, of those links and devices of which
	// the namespace was made: they met the hook, and were not behind its rules. What a rule of the first priority (-2147483648)
	// takes is not among them.
	EgressDropped map[nf.Family]uint64
	// MayBypassHooks says that some of these may have continued without meeting a hook: there is a flowtable, or a
	// link that is a port of another one, such as a bridge.
	MayBypassHooks bool
	// OtherHosts says that frames for another host on a link may be among those that met no hook.
	OtherHosts bool
	// Attached is, for each family, the number of the host's own ICMP errors and RSTs that reached the confirmation
	// about packets without a confirmed entry. They have no entry either and are not lost.
	Attached map[nf.Family]AttachedCount
	// InvalidPassed is, for each family, the number of INVALID packets that reached the confirmation in input or
	// postrouting. They continue.
	InvalidPassed map[nf.Family]uint64
	// Passed has, by the name of the probe before the confirmation ("confirm/input", "ip6/confirm/postrouting"), the number of packets
	// that were behind the confirmation and behind all rules of its priority, the last one. What is missing there was dropped.
	// Nil if they were not counted.
	Passed map[string]uint64
	// Waiting are the packets that wait in the queues of the namespace's own end (netnsenv.Queue).
	Waiting []nf.Waiting
	// Silenced is the number of packets that the host would have sent on its own and that a silent host drops.
	Silenced uint64
	// Dropped, Invalid and InsertFailed are those of the Tally. They explain losses.
	Dropped, Invalid, InsertFailed uint64
	// ICMPErrors is the number of INVALID ICMP packets, which Invalid does not include ("error" of conntrack's
	// statistics).
	ICMPErrors uint64
	// Reasons are what conntrack logged about packets, the most frequent first. Nil: logs were not available; empty:
	// it logged nothing.
	Reasons []ReasonCount
	// Drops are the user's rules and policies that drop packets, in the order of the ruleset. They are read only if a
	// rule may have dropped packets that were lost; otherwise Drops is nil. They count since the rules were created.
	Drops []Drop
	// Uncounted are those of the user's rules and policies that may have dropped packets where no probe counts: on bridges (family
	// bridge), and at the hook egress at its first priority or on a device that the namespace was not made with. Observer.PathCounts
	// does not read them.
	Uncounted []Drop
	// Filters are filters of tc, and programs of tcx and XDP, on the links of the namespace. What they drop, before the first or behind the
	// last hook, nothing counts. Observer.PathCounts does not read them.
	Filters []LinkFilter
	// NAT tells the families for which the ruleset has a chain of NAT, without which the kernel does none. It is read
	// with Drops.
	NAT map[nf.Family]bool
	// Refusals are, for each family, the routes and routing rules of the namespace that refuse packets. They are read only if packets were lost behind prerouting for which
	// nothing was counted, or for want of a route; otherwise Refusals is nil. Observer.PathCounts does not read them.
	Refusals map[nf.Family][]Refusal
	// HelperDrops are what conntrack helpers logged about packets that they dropped, the most frequent first.
	HelperDrops []ReasonCount
	// HelpersUntold says that nothing tells what helpers dropped: logs were not available, or the kernel (seen: 7.3) does not log it.
	HelpersUntold bool
	// LinkDrops are the packets that links dropped behind the last hook. The kernel counts those of all families
	// together, with what programs sent past the hooks.
	LinkDrops []LinkDrop
	// MIB has the kernel's network counters for packets that were lost outside of rules and conntrack, under the
	// names that nstat uses, without those that are zero: "IpExtInNoRoutes": 2. Nil: they were not read.
	MIB map[string]uint64
	// KernelDrops are the reasons for which the kernel dropped packets, the most frequent first. Nil: there is no
	// DropSource (Observer.SetDropSource); empty: nothing was dropped.
	KernelDrops []DropCount
	// Reading identifies the Path, so that Sub recognizes two in the wrong order.
	Reading Reading
}

// Point is a probe of a Path with the number of packets that met it.
type Point struct {
	Probe   nf.Probe // with its name
	Packets uint64   // that met it
}

// AttachedCount counts, at the confirmation in input and in postrouting, ICMP errors and RSTs that the host sent
// about packets without a confirmed entry. They are attached to that entry in the reply direction and skip the
// confirmation (net/netfilter/nf_conntrack_core.c, nf_conntrack_attach and __nf_conntrack_confirm).
type AttachedCount struct {
	Input, Postrouting uint64 // packets in each hook
}

func (a AttachedCount) at(h nf.Hook) uint64 {
	switch h {
	case nf.Input:
		return a.Input
	case nf.Postrouting:
		return a.Postrouting
	}
	return 0
}

// LinkFilter is a filter of tc, or a program of tcx or XDP, through which packets of a link go beside the hooks of netfilter.
type LinkFilter struct {
	Link string  // "tun0"
	Hook nf.Hook // nf.Ingress: packets that come in, before the hooks; nf.Egress: those that leave, behind them
	What string  // "filters of tc (u32)", by their classifier, "programs of tcx" or "programs of XDP"
}

// String returns "filters of tc (u32) at egress of tun1".
func (f LinkFilter) String() string {
	return fmt.Sprintf("%s at %v of %s", f.What, f.Hook, f.Link)
}

// Refusal is a route or a routing rule that refuses packets.
type Refusal struct {
	Type   string // "blackhole", "unreachable" or "prohibit"
	What   string // a route: "192.0.2.66/32", "default table 100"; a routing rule: "by rule 1000", with its preference
	ByRule bool   // it is a routing rule
}

// String returns "prohibit default table 100" or "unreachable by rule 1000".
func (r Refusal) String() string { return r.Type + " " + r.What }

// LinkDrop is how many packets a link dropped on their way out.
type LinkDrop struct {
	Link    string    // "tun0"
	Kind    CauseKind // CauseQdisc or CauseFarEnd
	Counter string    // what counted them: "tx_dropped", or the queueing discipline: "netem dropped"
	Packets uint64    // how many were dropped
}

// key returns d without its count.
func (d LinkDrop) key() LinkDrop {
	d.Packets = 0
	return d
}

// sub subtracts the count of b, and reports whether anything is left.
func (d *LinkDrop) sub(b LinkDrop) bool {
	d.Packets = saturatingSub(d.Packets, b.Packets)
	return d.Packets > 0
}

// Sub returns what was counted between before and p, two Paths of the same Observer. It panics if before was read after
// p, or by another Observer.
func (p Path) Sub(before Path) Path {
	if slip := p.Reading.slip(before.Reading); slip != "" {
		panic("observe: Path: " + slip)
	}
	d := p
	d.Silenced = saturatingSub(p.Silenced, before.Silenced)
	d.Dropped = saturatingSub(p.Dropped, before.Dropped)
	d.Invalid = saturatingSub(p.Invalid, before.Invalid)
	d.InsertFailed = saturatingSub(p.InsertFailed, before.InsertFailed)
	d.ICMPErrors = saturatingSub(p.ICMPErrors, before.ICMPErrors)
	d.Arrived = subCounts(p.Arrived, before.Arrived)
	d.EgressDropped = subCounts(p.EgressDropped, before.EgressDropped)
	d.InvalidPassed = subCounts(p.InvalidPassed, before.InvalidPassed)
	d.Passed = subCounts(p.Passed, before.Passed)
	d.MIB = subCounts(p.MIB, before.MIB)
	d.Attached = subAttached(p.Attached, before.Attached)
	d.Reasons = subList(p.Reasons, before.Reasons, ReasonCount.key, (*ReasonCount).sub)
	d.KernelDrops = subList(p.KernelDrops, before.KernelDrops, DropCount.key, (*DropCount).sub)
	d.LinkDrops = subList(p.LinkDrops, before.LinkDrops, LinkDrop.key, (*LinkDrop).sub)
	d.HelperDrops = subList(p.HelperDrops, before.HelperDrops, ReasonCount.key, (*ReasonCount).sub)
	d.Drops = subList(p.Drops, before.Drops, Drop.key, (*Drop).sub)
	d.Uncounted = subList(p.Uncounted, before.Uncounted, Drop.key, (*Drop).sub)
	d.Waiting = subList(p.Waiting, before.Waiting, waitingKey, subWaiting)
	d.Points = make([]Point, len(p.Points))
	for i, at := range p.Points {
		d.Points[i] = Point{Probe: at.Probe, Packets: saturatingSub(at.Packets, before.packets(at.Probe.Name))}
	}
	return d
}

// waitingKey is w without the number of packets.
func waitingKey(w nf.Waiting) nf.Waiting { w.Packets = 0; return w }

// subWaiting subtracts the packets that waited before, and reports whether any are left.
func subWaiting(w *nf.Waiting, before nf.Waiting) bool {
	w.Packets = saturatingSub(w.Packets, before.Packets)
	return w.Packets > 0
}

// subAttached is subCounts for what the host answered.
func subAttached(after, before map[nf.Family]AttachedCount) map[nf.Family]AttachedCount {
	if after == nil {
		return nil
	}
	d := map[nf.Family]AttachedCount{}
	for f, a := range after {
		b := before[f]
		if a = (AttachedCount{saturatingSub(a.Input, b.Input), saturatingSub(a.Postrouting, b.Postrouting)}); a != (AttachedCount{}) {
			d[f] = a
		}
	}
	return d
}

// packets returns the count of a probe; zero for one that is not on the path.
func (p Path) packets(name string) uint64 {
	for _, at := range p.Points {
		if at.Probe.Name == name {
			return at.Packets
		}
	}
	return 0
}

// at returns the points of a family at a hook.
func (p Path) at(f nf.Family, h nf.Hook) []Point {
	var points []Point
	for _, at := range p.Points {
		if at.Probe.Family == f && at.Probe.Hook == h {
			points = append(points, at)
		}
	}
	return points
}

// Notes returns, a line each, what is not a loss but worth knowing: packets of the host without an entry, what
// conntrack logged about packets that continued, why the kernel dropped packets, and what drops where no probe counts.
func (p Path) Notes() []string {
	var notes []string
	for _, f := range nf.Families() {
		for _, h := range []nf.Hook{nf.Input, nf.Postrouting} {
			if n := p.Attached[f].at(h); n > 0 {
				notes = append(notes, fmt.Sprintf("%v %v: %s", f, h, attachedText(n)))
			}
		}
		if n := p.notFollowed(f); n > 0 {
			notes = append(notes, fmt.Sprintf("%d IPv6 packets not followed: %s", n, noIPv6))
		}
	}
	for _, s := range p.remarks() {
		notes = append(notes, fmt.Sprintf("conntrack logged %v", s))
	}
	for _, t := range p.KernelDrops {
		notes = append(notes, fmt.Sprintf("the kernel drops %v", t))
	}
	for _, s := range p.uncounted() {
		notes = append(notes, "not counted by any probe: what is dropped by "+s)
	}
	return notes
}

// uncounted returns what may have dropped packets without a count: rules of Uncounted, and Filters.
func (p Path) uncounted() (rules []string) {
	for _, f := range p.Filters {
		rules = append(rules, f.String())
	}
	for _, d := range p.Uncounted {
		if d.dropped() > 0 || d.mayHaveDropped() {
			rules = append(rules, d.String())
		}
	}
	return firstRules(rules)
}

// remarks returns the reasons of packets that continued, which no loss mentions.
func (p Path) remarks() []ReasonCount {
	if p.Invalid+p.ICMPErrors == 0 {
		return p.Reasons
	}
	var r []ReasonCount
	for _, s := range p.Reasons {
		if s.passed() {
			r = append(r, s)
		}
	}
	return r
}

// attachedText describes n of them.
func attachedText(n uint64) string {
	return fmt.Sprintf("%d without an entry, not lost: ICMP errors and RSTs of the host about packets without an entry", n)
}

// String draws the path: a line for each hook that saw packets, with the count of each probe, followed by what was
// lost there and why:
//
//	ipv4 prerouting   defrag 10 → raw 10 → conntrack 10 → mangle 7 → nat 7 → filter 7 → end 7
//	                  3 of 10 lost between conntrack and mangle: conntrack table full (drop +3)
//	     input        mangle 7 → filter 7 → security 7 → nat 7 → confirm 7 → confirmed 7
//	silenced output   7 of the host's own packets, before conntrack saw them
func (p Path) String() string {
	losses := p.Losses()
	var b strings.Builder
	for _, f := range nf.Families() {
		family := f.String()
		for _, l := range losses {
			if l.Family == f && l.Hook == nf.Ingress {
				fmt.Fprintf(&b, "%-4s %-12s link %d\n", family, "ingress", l.Of)
				fmt.Fprintf(&b, "%-17s %d of %d lost before the hooks: %s\n", "", l.Lost, l.Of, l.Why())
				family = ""
			}
		}
		if n := p.notFollowed(f); n > 0 {
			fmt.Fprintf(&b, "%-4s %-12s link %d\n", family, "ingress", n)
			fmt.Fprintf(&b, "%-17s %d not followed: %s\n", "", n, noIPv6)
		}
		for _, h := range []nf.Hook{nf.Prerouting, nf.Input, nf.Forward, nf.Output, nf.Postrouting} {
			points := p.at(f, h)
			if !anyPackets(points) {
				continue
			}
			fmt.Fprintf(&b, "%-4s %-12s %s\n", family, h, stages(points))
			family = ""
			for _, l := range losses {
				if lostAt(l, points) {
					fmt.Fprintf(&b, "%-17s %d of %d %s %s: %s\n", "", l.Lost, l.Of, l.verb(), l.place(), l.Why())
				}
			}
			if n := p.Attached[f].at(h); n > 0 {
				fmt.Fprintf(&b, "%-17s %s\n", "", attachedText(n))
			}
		}
	}
	if p.Silenced > 0 {
		fmt.Fprintf(&b, "%-17s %d of the host's own packets, before conntrack saw them\n", "silenced output", p.Silenced)
	}
	for i, s := range p.remarks() {
		title := ""
		if i == 0 {
			title = "conntrack logged"
		}
		fmt.Fprintf(&b, "%-17s %v\n", title, s)
	}
	for i, t := range p.KernelDrops {
		title := ""
		if i == 0 {
			title = "the kernel drops"
		}
		fmt.Fprintf(&b, "%-17s %v\n", title, t)
	}
	if b.Len() == 0 {
		b.WriteString("no packet met a probe\n")
	}
	for i, s := range p.uncounted() {
		title := ""
		if i == 0 {
			title = "not counted"
		}
		fmt.Fprintf(&b, "%-17s what is dropped by %s\n", title, s)
	}
	return b.String()
}

// noIPv6 says why no probe counts IPv6 packets (netnsenv.LinkConfig, Prefixes).
const noIPv6 = "no link has an IPv6 prefix, so the Env has disabled IPv6 and has no probes for it"

// withoutProbes returns how many IPv6 packets arrived if only IPv4 has standard probes.
func (p Path) withoutProbes(f nf.Family) uint64 {
	if f != nf.IPv6 || len(p.at(nf.IPv4, nf.Prerouting)) == 0 || len(p.at(f, nf.Prerouting)) > 0 {
		return 0
	}
	return p.Arrived[f]
}

// notFollowed returns how many of these the kernel's counters do not account for: IPv6 was enabled later.
func (p Path) notFollowed(f nf.Family) uint64 {
	if n := p.withoutProbes(f); p.MIB[discards6] < n {
		return n
	}
	return 0
}

func anyPackets(points []Point) bool {
	for _, p := range points {
		if p.Packets > 0 {
			return true
		}
	}
	return false
}

func stages(points []Point) string {
	s := make([]string, len(points))
	for i, p := range points {
		s[i] = fmt.Sprintf("%s %d", stage(p.Probe.Name), p.Packets)
	}
	return strings.Join(s, " → ")
}

// lostAt reports whether a loss belongs below the line of these points: its last probe is one of them.
func lostAt(l Loss, points []Point) bool {
	return slices.ContainsFunc(points, func(p Point) bool { return slices.Contains(l.From[len(l.From)-1:], p.Probe.Name) })
}

// place names the place of a loss below the line of its hook, in short if it is within the hook.
func (l Loss) place() string {
	if len(l.From) == 1 && len(l.To) == 1 && hookOf(l.From[0]) == hookOf(l.To[0]) {
		return fmt.Sprintf("between %s and %s", stage(l.From[0]), stage(l.To[0]))
	}
	from := strings.Join(l.From, " and ")
	if len(l.From) == 1 {
		from = stage(from)
	}
	return fmt.Sprintf("after %s, before %s", from, strings.Join(l.To, " or "))
}

// stage returns the part between the family and the hook in the name of a standard probe.
func stage(name string) string {
	return nf.Probe{Name: name}.Stage()
}

// hookOf returns the part after the stage in the name of a standard probe.
func hookOf(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// probeName returns the key of a probe in maps of counts.
func probeName(p nf.Probe) string {
	if p.Name == "" {
		return p.DefaultName()
	}
	return p.Name
}
