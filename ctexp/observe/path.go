package observe

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Path is how many packets met each of the standard probes, in the order in which packets meet them, family by family.
type Path struct {
	Points []Point
	// Arrived is how many packets of each family the links of the namespace have brought; nil where nobody has counted them.
	Arrived map[nf.Family]uint64
	// MayBypassHooks says that some of these may have gone on without meeting a hook: there is a flowtable, or a link that is a
	// port of another, as of a bridge.
	MayBypassHooks bool
	// Attached is how many packets of each family, at the confirmation in input and in postrouting, were errors of ICMP and
	// RSTs of the host's about packets that have no entry yet. They have none either, and are not lost.
	Attached map[nf.Family]AttachedCount
	// Passed is how many INVALID packets of each family have got to the confirmation, in input or in postrouting. They go on.
	InvalidPassed map[nf.Family]uint64
	// Silenced counts what the host would have sent of its own accord and a silent one does not.
	Silenced uint64
	// Dropped, Invalid and InsertFailed are those of the Tally: they say why packets are missing.
	Dropped, Invalid, InsertFailed uint64
	// ICMPErrors counts ICMP packets that are INVALID; those are not among Invalid ("icmp_error").
	ICMPErrors uint64
	// Reasons are what conntrack said about packets, the most frequent first. Nil: it was not asked; empty: it said nothing.
	Reasons []ReasonCount
	// Drops are the user's rules and policies that drop packets, in the order of the ruleset; read only where packets were
	// lost that a rule may have dropped: nil means that they were not read. Their counts are those since the rules were made.
	Drops []Drop
	// MIB has those of the kernel's counters for networking that say why packets were lost where no rule and no conntrack
	// is, under the names that nstat gives them, without those that are zero: "IpExtInNoRoutes": 2. Nil: they were not read.
	MIB map[string]uint64
	// DropCount are the reasons for which the kernel threw packets away, the most frequent first, where the Observer has somebody
	// to tell them (SetDropSource). Nil: it has not; empty: none were.
	KernelDrops []DropCount
}

// Point is one probe of a Path.
type Point struct {
	Probe   nf.Probe
	Packets uint64
}

// Attached counts errors of ICMP and RSTs that the host has sent about packets without a confirmed entry: they belong to
// the entry to be, in the reply direction, and are passed by at the confirmation (net/netfilter/nf_conntrack_core.c,
// nf_conntrack_attach and __nf_conntrack_confirm).
type AttachedCount struct{ Input, Postrouting uint64 }

func (a AttachedCount) at(h nf.Hook) uint64 {
	switch h {
	case nf.Input:
		return a.Input
	case nf.Postrouting:
		return a.Postrouting
	}
	return 0
}

// Sub returns what was counted between before and p, which is the later Path of the same Observer.
func (p Path) Sub(before Path) Path {
	d := p
	d.Silenced = saturatingSub(p.Silenced, before.Silenced)
	d.Dropped = saturatingSub(p.Dropped, before.Dropped)
	d.Invalid = saturatingSub(p.Invalid, before.Invalid)
	d.InsertFailed = saturatingSub(p.InsertFailed, before.InsertFailed)
	d.ICMPErrors = saturatingSub(p.ICMPErrors, before.ICMPErrors)
	d.Arrived = subCounts(p.Arrived, before.Arrived)
	d.InvalidPassed = subCounts(p.InvalidPassed, before.InvalidPassed)
	d.MIB = subCounts(p.MIB, before.MIB)
	d.Attached = subAttached(p.Attached, before.Attached)
	d.Reasons = subList(p.Reasons, before.Reasons, ReasonCount.key, (*ReasonCount).sub)
	d.KernelDrops = subList(p.KernelDrops, before.KernelDrops, DropCount.key, (*DropCount).sub)
	d.Drops = subList(p.Drops, before.Drops, Drop.key, (*Drop).sub)
	d.Points = make([]Point, len(p.Points))
	for i, at := range p.Points {
		d.Points[i] = Point{Probe: at.Probe, Packets: saturatingSub(at.Packets, before.packets(at.Probe.Name))}
	}
	return d
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

// Notes says, a line each, what of the path is no loss and should be known all the same: packets of the host's that have
// no entry, what conntrack says of packets that went on, and what the kernel says of those that it threw away.
func (p Path) Notes() []string {
	var notes []string
	for _, f := range []nf.Family{nf.IPv4, nf.IPv6} {
		for _, h := range []nf.Hook{nf.Input, nf.Postrouting} {
			if n := p.Attached[f].at(h); n > 0 {
				notes = append(notes, fmt.Sprintf("%v %v: %s", f, h, attachedText(n)))
			}
		}
	}
	for _, s := range p.remarks() {
		notes = append(notes, fmt.Sprintf("conntrack says %v", s))
	}
	for _, t := range p.KernelDrops {
		notes = append(notes, fmt.Sprintf("the kernel drops %v", t))
	}
	return notes
}

// remarks are the reasons of packets that went on all the same, which no loss tells.
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

// attachedText says what n of them are.
func attachedText(n uint64) string {
	return fmt.Sprintf("%d without an entry, not lost: what the host says of packets that have none (ICMP errors, RSTs)", n)
}

// String draws the path, a line for each hook that saw packets with the count at each probe on it, and below it what
// was lost there and why:
//
//	ipv4 prerouting   defrag 10 → raw 10 → conntrack 10 → mangle 7 → nat 7 → filter 7 → end 7
//	                  3 of 10 lost between conntrack and mangle: conntrack table full (drop +3)
//	     input        mangle 7 → filter 7 → security 7 → nat 7 → confirm 7 → confirmed 7
//	silenced output   7 of the host's own packets, before conntrack saw them
func (p Path) String() string {
	losses := p.Losses()
	var b strings.Builder
	for _, f := range []nf.Family{nf.IPv4, nf.IPv6} {
		family := f.String()
		for _, l := range losses {
			if l.Family == f && l.Hook == nf.Ingress {
				fmt.Fprintf(&b, "%-4s %-12s link %d\n", family, "ingress", l.Of)
				fmt.Fprintf(&b, "%-17s %d of %d lost before the hooks: %s\n", "", l.Lost, l.Of, l.Why())
				family = ""
			}
		}
		for _, h := range []nf.Hook{nf.Prerouting, nf.Input, nf.Forward, nf.Output, nf.Postrouting} {
			points := p.at(f, h)
			if !anyPackets(points) {
				continue
			}
			fmt.Fprintf(&b, "%-4s %-12s %s\n", family, h, stages(points))
			family = ""
			for _, l := range losses {
				if l.Family == f && lostAt(l, points) {
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
			title = "conntrack says"
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
		return "no packet met a probe\n"
	}
	return b.String()
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

// lostAt reports whether a loss belongs under the line of these points: behind one of them.
func lostAt(l Loss, points []Point) bool {
	return slices.ContainsFunc(points, func(p Point) bool { return slices.Contains(l.From[len(l.From)-1:], p.Probe.Name) })
}

// place names the place of a loss under the line of its hook, briefly if it is within the hook.
func (l Loss) place() string {
	if len(l.From) == 1 && len(l.To) == 1 && hookOf(l.From[0]) == hookOf(l.To[0]) {
		return fmt.Sprintf("between %s and %s", stage(l.From[0]), stage(l.To[0]))
	}
	from := strings.Join(l.From, " and ")
	if len(l.From) == 1 {
		from = stage(from)
	}
	return fmt.Sprintf("behind %s, before %s", from, strings.Join(l.To, " or "))
}

// stage returns what stands between the family and the hook in the name of a standard probe.
func stage(name string) string {
	s, _, _ := strings.Cut(strings.TrimPrefix(name, "ip6/"), "/")
	return s
}

// hookOf returns what stands behind the stage in the name of a standard probe.
func hookOf(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// name returns the key of a probe.
func name(p nf.Probe) string {
	if p.Name == "" {
		return p.DefaultName()
	}
	return p.Name
}
