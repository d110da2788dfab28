package report

import (
	"maps"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
)

// Path is how many packets met each probe, and where they went missing.
type Path struct {
	Points []Point `json:"points,omitempty"` // in the order in which packets meet them, family by family
	Losses []Loss  `json:"losses,omitempty"` // in the same order
	// Silenced counts what the host would have sent of its own accord and a silent one does not.
	Silenced uint64 `json:"silenced,omitempty"`
	// Arrived is how many packets the links have brought, by family: "ipv4".
	Arrived []Count `json:"arrived,omitempty"`
	// MIB has those of the kernel's counters that say why packets were lost, under the names that nstat gives them.
	MIB []Count `json:"mib,omitempty"`
	// DropCount are the reasons for which the kernel threw packets away, the most frequent first, if somebody told them.
	KernelDrops []DropCount `json:"kernel_drops,omitempty"`
	// Notes are what else is to be said of the path, a line each.
	Notes []string `json:"notes,omitempty"`
}

// IsZero reports whether nothing is known of a path, its lists being empty or nil: it is then absent in JSON.
func (p Path) IsZero() bool {
	return len(p.Points) == 0 && len(p.Losses) == 0 && p.Silenced == 0 &&
		len(p.Arrived) == 0 && len(p.MIB) == 0 && len(p.KernelDrops) == 0 && len(p.Notes) == 0
}

// Point is a probe that counts the packets that arrive at a stage.
type Point struct {
	Name     string `json:"name"`   // unique: "raw/prerouting", "ip6/raw/prerouting"
	Family   string `json:"family"` // "ipv4" or "ipv6"
	Hook     string `json:"hook"`   // "prerouting", "input", "forward", "output", "postrouting"
	Priority int    `json:"priority"`
	Packets  uint64 `json:"packets"`
}

// Stage returns the stage that a point counts arrivals at: "raw" of "ip6/raw/prerouting".
func (p Point) Stage() string { return stage(p.Name) }

// stage returns what stands between the family and the hook in the name of a point.
func stage(name string) string {
	s, _, _ := strings.Cut(strings.TrimPrefix(name, "ip6/"), "/")
	return s
}

// Loss is where packets went missing.
type Loss struct {
	Family string `json:"family"` // "ipv4" or "ipv6"
	// Hook is where the packets were lost, or the hook that they had passed last: "prerouting"; "ingress" before the first.
	Hook string `json:"hook"`
	// From are the Points that they had met, To those that they did not: see observe.Loss.
	From []string `json:"from"`
	To   []string `json:"to"`
	Lost uint64   `json:"lost"`
	Of   uint64   `json:"of"`
	// Unconfirmed says that the packets went on, only without an entry in the table.
	Unconfirmed bool    `json:"unconfirmed,omitempty"`
	Causes      []Cause `json:"causes,omitempty"`
	Why         string  `json:"why"` // the causes in words: "conntrack table full (drop +3)"
	// Evidence is what else speaks for it, a line each: the ports, the rule, the kernel's reasons.
	Evidence []string `json:"evidence,omitempty"`
}

// at reports whether the text of a loss stands at a point: the last of those that the packets had met.
func (l Loss) at(p Point) bool {
	return l.Family == p.Family && len(l.From) > 0 && l.From[len(l.From)-1] == p.Name
}

// place names what the packets had met and what they did not: "conntrack/prerouting and mangle/prerouting".
func (l Loss) place() (from, to string) {
	return strings.Join(l.From, " and "), strings.Join(l.To, " or ")
}

// Cause is why packets were lost; see observe.Cause.
type Cause struct {
	Kind    string   `json:"kind"`              // "table full"
	Certain bool     `json:"certain"`           // false: it is one of several that may be
	Packets uint64   `json:"packets,omitempty"` // that the evidence counts
	Rule    Rule     `json:"rule,omitzero"`
	Counter string   `json:"counter,omitempty"` // "IpExtInNoRoutes"
	Reason  string   `json:"reason,omitempty"`  // "IP_RPFILTER"
	Logged  []string `json:"logged,omitempty"`  // what conntrack logged
}

// DropCount is how often the kernel threw packets away for a reason.
type DropCount struct {
	Family   string `json:"family,omitempty"`
	Reason   string `json:"reason"` // "IP_RPFILTER"
	Function string `json:"function,omitempty"`
	Packets  uint64 `json:"packets"`
}

// PathOf returns a path as a report has it.
func PathOf(p observe.Path) Path {
	out := Path{Silenced: p.Silenced, Notes: p.Notes()}
	for _, at := range p.Points {
		out.Points = append(out.Points, Point{
			Name: at.Probe.Name, Family: at.Probe.Family.String(), Hook: at.Probe.Hook.String(),
			Priority: int(at.Probe.Priority), Packets: at.Packets,
		})
	}
	for _, l := range p.Losses() {
		out.Losses = append(out.Losses, Loss{
			Family: l.Family.String(), Hook: l.Hook.String(), From: l.From, To: l.To, Lost: l.Lost, Of: l.Of,
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

// CausesOf returns causes as a report has them.
func CausesOf(causes []observe.Cause) []Cause {
	var out []Cause
	for _, c := range causes {
		to := Cause{Kind: string(c.Kind), Certain: c.Certain, Packets: c.Packets, Counter: c.Counter, Reason: c.Reason}
		if c.Rule != (observe.Rule{}) {
			to.Rule = RuleOf(c.Rule)
		}
		for _, s := range c.Logged {
			to.Logged = append(to.Logged, s.String())
		}
		out = append(out, to)
	}
	return out
}

// RuleOf returns a rule as a report has it.
func RuleOf(r observe.Rule) Rule {
	return Rule{
		Backend: r.Backend, Family: r.Family, Table: r.Table, Chain: r.Chain, Kind: string(r.Kind), Text: r.Text,
		Counted: r.Counted, Packets: r.Packets, Bytes: r.Bytes,
	}
}

// lane is the points of a family at a hook, with what was lost behind each.
type lane struct {
	family, hook string
	points       []Point
	losses       [][]Loss // one list for each point
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

// lossTotal is how many packets a lane lost.
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

// lanes returns the path hook by hook; idle are the lanes that no packet met.
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

// ingress returns what comes before the first point of a family, if packets were lost there: what the links have brought.
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

// ingress is the Hook of what comes before the hooks.
const ingress = "ingress"

// most returns the highest count of a family, at least one.
func (p Path) maxPackets(family string) uint64 {
	most := uint64(1)
	for _, point := range p.Points {
		if point.Family == family {
			most = max(most, point.Packets)
		}
	}
	return most
}

// worst returns how many packets the worst loss took.
func (p Path) worst() uint64 {
	var n uint64
	for _, l := range p.Losses {
		if !l.Unconfirmed {
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

// families counts the families of which packets were seen.
func (p Path) families() int {
	seen := map[string]bool{}
	busy, _ := p.lanes()
	for _, l := range busy {
		seen[l.family] = true
	}
	return len(seen)
}
