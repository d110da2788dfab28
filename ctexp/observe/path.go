package observe

import (
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Path is how many packets met each of the standard probes, in the order in which packets meet them, family by family.
type Path struct {
	Points []Point
	// Arrived is how many packets of each family the links of the namespace have brought; nil where nobody has counted them.
	Arrived map[nf.Family]uint64
	// Elsewhere says that some of these may have gone on without meeting a hook: there is a flowtable, or a link that is a
	// port of another, as of a bridge.
	Elsewhere bool
	// Answered is how many packets of each family, at the confirmation in input and in postrouting, were errors of ICMP and
	// RSTs of the host's about packets that have no entry yet. They have none either, and are not lost.
	Answered map[nf.Family]Answered
	// Passed is how many INVALID packets of each family have got to the confirmation, in input or in postrouting. They go on.
	Passed map[nf.Family]uint64
	// Silenced counts what the host would have sent of its own accord and a silent one does not.
	Silenced uint64
	// Dropped, Invalid and InsertFailed are those of the Tally: they say why packets are missing.
	Dropped, Invalid, InsertFailed uint64
	// ICMPErrors counts ICMP packets that are INVALID; those are not among Invalid ("icmp_error").
	ICMPErrors uint64
	// Reasons are what conntrack said about packets, the most frequent first. Nil: it was not asked; empty: it said nothing.
	Reasons []Said
	// Drops are the user's rules and policies that drop packets, in the order of the ruleset; read only where packets were
	// lost that a rule may have dropped. Their counts are those since the rules were made.
	Drops []Drop
	// MIB has those of the kernel's counters for networking that say why packets were lost where no rule and no conntrack
	// is, under the names that nstat gives them, without those that are zero: "IpExtInNoRoutes": 2. Nil: they were not read.
	MIB map[string]uint64
	// Thrown are the reasons for which the kernel threw packets away, the most frequent first, where the Observer has somebody
	// to tell them (ExplainBy). Nil: it has not; empty: none were.
	Thrown []Thrown
}

// Point is one probe of a Path.
type Point struct {
	Probe   nf.Probe
	Packets uint64
}

// Sub returns what was counted between before and p, which is the later Path of the same Observer.
func (p Path) Sub(before Path) Path {
	d := p
	d.Silenced = monus(p.Silenced, before.Silenced)
	d.Dropped = monus(p.Dropped, before.Dropped)
	d.Invalid = monus(p.Invalid, before.Invalid)
	d.InsertFailed = monus(p.InsertFailed, before.InsertFailed)
	d.ICMPErrors = monus(p.ICMPErrors, before.ICMPErrors)
	d.Arrived = subArrived(p.Arrived, before.Arrived)
	d.Passed = subArrived(p.Passed, before.Passed)
	d.Answered = subAnswered(p.Answered, before.Answered)
	if p.Reasons != nil {
		d.Reasons = append([]Said{}, subSaid(p.Reasons, before.Reasons)...)
	}
	d.Drops = subDrops(p.Drops, before.Drops)
	d.MIB = subMIB(p.MIB, before.MIB)
	d.Thrown = subThrown(p.Thrown, before.Thrown)
	d.Points = make([]Point, len(p.Points))
	for i, at := range p.Points {
		d.Points[i] = Point{Probe: at.Probe, Packets: monus(at.Packets, before.packets(at.Probe.Name))}
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

// Loss is where packets of a Path went missing.
type Loss struct {
	Family   nf.Family
	From, To string // what the packets had met, and did not meet: "conntrack/prerouting", "mangle/prerouting"; first of all "link/ingress"
	Lost, Of uint64
	Why      string // as far as the counts tell
}

// String prints the loss as a sentence: "3 of 10 lost between conntrack/prerouting and mangle/prerouting: conntrack
// table full (drop +3)".
func (l Loss) String() string {
	return fmt.Sprintf("%d of %d %s between %s and %s: %s", l.Lost, l.Of, l.verb(), l.From, l.To, l.Why)
}

// Unconfirmed reports whether the packets went on, only without an entry in the table (all but those whose entry could not
// be inserted).
func (l Loss) Unconfirmed() bool { return stage(l.To) == "confirmed" }

func (l Loss) verb() string {
	if l.Unconfirmed() {
		return "without an entry"
	}
	return "lost"
}
