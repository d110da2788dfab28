package report

import "strings"

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
	// Thrown are the reasons for which the kernel threw packets away, the most frequent first, if somebody told them.
	Thrown []Thrown `json:"thrown,omitempty"`
	// Notes are what else is to be said of the path, a line each.
	Notes []string `json:"notes,omitempty"`
}

// Thrown is how often the kernel threw packets away for a reason.
type Thrown struct {
	Family   string `json:"family,omitempty"`
	Reason   string `json:"reason"` // "IP_RPFILTER"
	Function string `json:"function,omitempty"`
	Packets  uint64 `json:"packets"`
}

// IsZero reports whether nothing is known of a path, its lists being empty or nil: it is then absent in JSON.
func (p Path) IsZero() bool {
	return len(p.Points) == 0 && len(p.Losses) == 0 && p.Silenced == 0 &&
		len(p.Arrived) == 0 && len(p.MIB) == 0 && len(p.Thrown) == 0 && len(p.Notes) == 0
}

// Point is a probe that counts the packets that arrive at a stage.
type Point struct {
	Name     string `json:"name"`   // unique: "raw/prerouting", "ip6/raw/prerouting"
	Family   string `json:"family"` // "ipv4" or "ipv6"
	Hook     string `json:"hook"`   // "prerouting", "input", "forward", "output", "postrouting"
	Priority int    `json:"priority"`
	Packets  uint64 `json:"packets"`
}

// Loss is where packets went missing.
type Loss struct {
	Family string `json:"family"`
	From   string `json:"from"` // name of the last Point that they met; "link/ingress" before the first
	To     string `json:"to"`   // of the next, which they did not; of two that may be next: "a or b"
	Lost   uint64 `json:"lost"`
	Of     uint64 `json:"of"`
	Why    string `json:"why"` // "conntrack table full (drop +3)"
	// Evidence is what else speaks for it, a line each: the ports, the rule, the kernel's reasons.
	Evidence []string `json:"evidence,omitempty"`
}

// Stage returns the stage that a point counts arrivals at: "raw" of "ip6/raw/prerouting".
func (p Point) Stage() string { return stage(p.Name) }

// Unconfirmed reports whether the packets went on, only without an entry in the table.
func (l Loss) Unconfirmed() bool { return stage(l.To) == "confirmed" }

// stage returns what stands between the family and the hook in the name of a point.
func stage(name string) string {
	s, _, _ := strings.Cut(strings.TrimPrefix(name, "ip6/"), "/")
	return s
}

// at reports whether packets were lost behind a point: l.From is its name, or the sum of its and another's.
func (l Loss) at(p Point) bool {
	return l.Family == p.Family && (l.From == p.Name || strings.HasSuffix(l.From, " and "+p.Name))
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

// lanes returns the path hook by hook; quiet are the lanes that no packet met.
func (p Path) lanes() (busy, quiet []lane) {
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
			quiet = append(quiet, l)
		}
	}
	return busy, quiet
}

// ingress returns what comes before the first point of a family, if packets were lost there: what the links have brought.
func (p Path) ingress(family string) []lane {
	for _, l := range p.Losses {
		if l.Family == family && l.beforeHooks() {
			return []lane{{
				family: family, hook: ingress, losses: [][]Loss{{l}},
				points: []Point{{Name: l.From, Family: family, Hook: ingress, Packets: l.Of}},
			}}
		}
	}
	return nil
}

// ingress is what comes before the hooks.
const ingress = "ingress"

// beforeHooks reports whether the packets met no hook.
func (l Loss) beforeHooks() bool { return strings.HasSuffix(l.From, "/"+ingress) }

// most returns the highest count of a family, at least one.
func (p Path) most(family string) uint64 {
	most := uint64(1)
	for _, point := range p.Points {
		if point.Family == family {
			most = max(most, point.Packets)
		}
	}
	return most
}
