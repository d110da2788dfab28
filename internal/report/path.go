package report

import (
	"maps"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

// Path is how many packets met each probe, and where they were lost.
type Path struct {
	Points []Point `json:"points,omitempty"` // family by family, in the order in which packets meet them
	Losses []Loss  `json:"losses,omitempty"` // in the same order
	// Silenced is the number of packets that the host would have sent on its own and that a silent host drops.
	Silenced uint64 `json:"silenced,omitempty"`
	// Arrived is how many packets arrived on the links, by family: "ipv4".
	Arrived []Count `json:"arrived,omitempty"`
	// MIB has the kernel's network counters that explain losses, under the names that nstat uses.
	MIB []Count `json:"mib,omitempty"`
	// KernelDrops are the reasons for which the kernel dropped packets, the most frequent first, if a source reported
	// them.
	KernelDrops []DropCount `json:"kernel_drops,omitempty"`
	// Notes are further remarks about the path, one per line.
	Notes []string `json:"notes,omitempty"`
}

// IsZero reports whether nothing is known of a path, whose lists may be empty or nil. It is then absent in JSON.
func (p Path) IsZero() bool {
	return len(p.Points) == 0 && len(p.Losses) == 0 && p.Silenced == 0 &&
		len(p.Arrived) == 0 && len(p.MIB) == 0 && len(p.KernelDrops) == 0 && len(p.Notes) == 0
}

// Point is a probe that counts the packets which arrive at a stage.
type Point struct {
	Name     string `json:"name"`     // unique: "raw/prerouting", "ip6/raw/prerouting"
	Family   string `json:"family"`   // "ipv4" or "ipv6"
	Hook     string `json:"hook"`     // "prerouting", "input", "forward", "output", "postrouting"
	Priority int    `json:"priority"` // of the probe in its hook
	Packets  uint64 `json:"packets"`  // that met it
}

// Stage returns the stage of a point: "raw" of "ip6/raw/prerouting".
func (p Point) Stage() string { return stage(p.Name) }

// stage returns the part between the family and the hook in the name of a point.
func stage(name string) string {
	return nf.Probe{Name: name}.Stage()
}

// Loss is a place where packets were lost.
type Loss struct {
	Family string `json:"family"` // "ipv4" or "ipv6"; empty: either
	// Hook is the hook in which the packets were lost, or the last one that they passed: "prerouting"; "ingress"
	// before the first.
	Hook string `json:"hook"`
	// From are the names of the Points that the packets met, To of those that they did not meet; see observe.Loss.
	From []string `json:"from"`
	To   []string `json:"to"`   // see From
	Lost uint64   `json:"lost"` // number of packets that were lost
	Of   uint64   `json:"of"`   // number of packets that met From
	// Unconfirmed says that the packets continued, but without an entry in the table.
	Unconfirmed bool    `json:"unconfirmed,omitempty"`
	Causes      []Cause `json:"causes,omitempty"` // the certain ones first
	Why         string  `json:"why"`              // the causes in words: "conntrack table full (drop +3)"
	// SetUp is what of the experiment's set-up asks for this loss: "room for 7 entries", "a rule of the experiment". Empty:
	// nothing does. WriteHTML, WriteFiles and Page set it from the causes.
	SetUp string `json:"set_up,omitempty"`
	// Evidence is further evidence, one item per line: the ports, the rule, the kernel's reasons.
	Evidence []string `json:"evidence,omitempty"`
}

// held reports whether packets with these causes wait in queues, so that they are not lost.
func held(causes []Cause) bool {
	return len(causes) > 0 && !slices.ContainsFunc(causes, func(c Cause) bool { return c.Kind != string(observe.CauseHeld) })
}

// verb says what happened to the packets: "lost", "held" or "without an entry".
func (l Loss) verb() string {
	switch {
	case l.Unconfirmed:
		return "without an entry"
	case held(l.Causes):
		return "held"
	}
	return "lost"
}

// at reports whether the text of a loss belongs to a point: the last one that the packets met.
func (l Loss) at(p Point) bool {
	return (l.Family == p.Family || l.Family == "") && len(l.From) > 0 && l.From[len(l.From)-1] == p.Name
}

// place names the points that the packets met and those that they did not: "conntrack/prerouting" and
// "mangle/prerouting".
func (l Loss) place() (from, to string) {
	return strings.Join(l.From, " and "), strings.Join(l.To, " or ")
}

// Cause is why packets were lost; see observe.Cause.
type Cause struct {
	Kind     string   `json:"kind"`               // "table full"
	Certain  bool     `json:"certain"`            // false: one of several possible causes
	Packets  uint64   `json:"packets,omitempty"`  // number of packets that the evidence counts
	Rule     Rule     `json:"rule,omitzero"`      // that dropped them; zero: not known
	Counter  string   `json:"counter,omitempty"`  // "IpExtInNoRoutes"
	Reason   string   `json:"reason,omitempty"`   // "IP_RPFILTER"
	Refusals []string `json:"refusals,omitempty"` // routes that refuse packets: "blackhole 192.0.2.66/32"
	Logged   []string `json:"logged,omitempty"`   // what conntrack logged about the packets
}

// DropCount is how many packets the kernel dropped for one reason in one function.
type DropCount struct {
	Family   string `json:"family,omitempty"`   // "ipv4" or "ipv6"; empty: not known
	Reason   string `json:"reason"`             // "IP_RPFILTER"
	Function string `json:"function,omitempty"` // kernel function that dropped them: "tcp_v4_rcv"
	Packets  uint64 `json:"packets"`            // how many were dropped
}

// PathOf converts a path.
func PathOf(p observe.Path) Path {
	out := Path{Silenced: p.Silenced, Notes: p.Notes()}
	for _, at := range p.Points {
		out.Points = append(out.Points, Point{
			Name: at.Probe.Name, Family: at.Probe.Family.String(), Hook: at.Probe.Hook.String(),
			Priority: int(at.Probe.Priority), Packets: at.Packets,
		})
	}
	for _, l := range p.Losses() {
		family := ""
		if l.Family != 0 {
			family = l.Family.String()
		}
		out.Losses = append(out.Losses, Loss{
			Family: family, Hook: l.Hook.String(), From: l.From, To: l.To, Lost: l.Lost, Of: l.Of,
			Unconfirmed: l.Unconfirmed, Causes: CausesOf(l.Causes), Why: l.Why(),
		})
	}
	for _, f := range nf.Families() {
		if n := p.Arrived[f]; n > 0 {
			out.Arrived = append(out.Arrived, Count{Name: f.String(), N: int64(n)})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.MIB)) {
		out.MIB = append(out.MIB, Count{Name: name, N: int64(p.MIB[name])})
	}
	for _, t := range p.KernelDrops {
		drop := DropCount{Reason: t.Reason, Function: t.Function, Packets: t.Packets}
		if t.Family != 0 {
			drop.Family = t.Family.String()
		}
		out.KernelDrops = append(out.KernelDrops, drop)
	}
	return out
}

// CausesOf converts causes.
func CausesOf(causes []observe.Cause) []Cause {
	var out []Cause
	for _, c := range causes {
		to := Cause{Kind: string(c.Kind), Certain: c.Certain, Packets: c.Packets, Counter: c.Counter, Reason: c.Reason}
		if c.Rule != (observe.Rule{}) {
			to.Rule = RuleOf(c.Rule)
		}
		for _, r := range c.Refusals {
			to.Refusals = append(to.Refusals, r.String())
		}
		for _, s := range c.Logged {
			to.Logged = append(to.Logged, s.String())
		}
		out = append(out, to)
	}
	return out
}

// RuleOf converts a rule.
func RuleOf(r observe.Rule) Rule {
	return Rule{
		Backend: r.Backend, Family: r.Family, Table: r.Table, Chain: r.Chain, Kind: string(r.Kind), Text: r.Text,
		Counted: r.Counted, Packets: r.Packets, Bytes: r.Bytes,
	}
}

// lane is the points of a family at a hook, with the losses after each.
type lane struct {
	family, hook string
	points       []Point
	losses       [][]Loss // one list per point
}

func (l lane) first() uint64 { return l.points[0].Packets }

func (l lane) any() bool {
	for i, p := range l.points {
		if p.Packets > 0 || len(l.losses[i]) > 0 {
			return true
		}
	}
	return false
}

// lost returns how many packets were lost in the lane.
func (l lane) lost() uint64 {
	var n uint64
	for _, losses := range l.losses {
		for _, loss := range losses {
			if !loss.Unconfirmed {
				n += loss.Lost
			}
		}
	}
	return n
}

// lanes returns the path hook by hook: the lanes that packets met, and the idle ones.
func (p Path) lanes() (busy, idle []lane) {
	var all []lane
	for _, point := range p.Points {
		if n := len(all); n == 0 || all[n-1].family != point.Family || all[n-1].hook != point.Hook {
			if n == 0 || all[n-1].family != point.Family {
				all = append(all, p.ingress(point.Family)...)
			}
			all = append(all, lane{family: point.Family, hook: point.Hook})
		}
		l := &all[len(all)-1]
		var lost []Loss
		for _, loss := range p.Losses {
			if loss.at(point) {
				lost = append(lost, loss)
			}
		}
		l.points, l.losses = append(l.points, point), append(l.losses, lost)
	}
	for _, l := range all {
		if l.any() {
			busy = append(busy, l)
		} else {
			idle = append(idle, l)
		}
	}
	return busy, idle
}

// ingress returns the lane before the first point of a family, with what arrived on the links, if packets were lost
// there.
func (p Path) ingress(family string) []lane {
	for _, l := range p.Losses {
		if l.Family == family && l.Hook == ingress {
			return []lane{{
				family: family, hook: ingress, losses: [][]Loss{{l}},
				points: []Point{{Name: strings.Join(l.From, " and "), Family: family, Hook: ingress, Packets: l.Of}},
			}}
		}
	}
	return nil
}

// ingress is the Hook of losses before the first hook.
const ingress = "ingress"

// maxPackets returns the highest count of a family, at least one.
func (p Path) maxPackets(family string) uint64 {
	peak := uint64(1)
	for _, point := range p.Points {
		if point.Family == family {
			peak = max(peak, point.Packets)
		}
	}
	return peak
}

// worst returns the number of packets of the largest loss that the experiment was not set up for.
func (p Path) worst() uint64 {
	var n uint64
	for _, l := range p.Losses {
		if !l.Unconfirmed && l.SetUp == "" {
			n = max(n, l.Lost)
		}
	}
	return n
}

// hookOf returns the hook of a point.
func (p Path) hookOf(point string) string {
	for _, at := range p.Points {
		if at.Name == point {
			return at.Hook
		}
	}
	return ""
}

// families returns how many families have packets on the path.
func (p Path) families() int {
	seen := map[string]bool{}
	busy, _ := p.lanes()
	for _, l := range busy {
		seen[l.family] = true
	}
	return len(seen)
}
