package ctexp

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/internal/ruleset"
)

// Reach is which rules a Lab has, and which of their chains its packets got to. It proves of rules under which the same becomes of
// the same packets that these could have shown a difference: see Vacuous. The zero Reach proves nothing and is never vacuous.
type Reach struct {
	chains map[chainID]*loadedChain // nil: not known
	// isOpaque says that more than rules was loaded: helpers, timeout policies, expectations, entries.
	isOpaque bool
}

// chainID names a chain of a ruleset: "ip", "filter", "input".
type chainID struct{ family, table, chain string }

// String prints the chain as nft does.
func (c chainID) String() string { return c.family + " " + c.table + " " + c.chain }

// loadedChain is a chain with rules, to which something leads.
type loadedChain struct {
	rules   []string // with the hook and priority of where they are reached from, and the contents of what they name
	where   string   // the first of these
	reached bool     // a packet got there; also true where that is not known
}

// Reach returns which rules the Lab has now, and which of their chains packets got to since it was opened. began is the number of
// entries that the table had before the first packet: such entries may differ as rules do, so that there is nothing Vacuous then.
func (l *Lab) Reach(ctx context.Context, began int) (Reach, error) {
	r, err := l.reach(ctx, began > 0 || slices.ContainsFunc(l.Env.Config().Rules, isOpaque))
	if err != nil {
		return Reach{}, fmt.Errorf("ctexp: reach: %w", err)
	}
	return r, nil
}

// reach is Reach; opaque says that the Lab has more than rules.
func (l *Lab) reach(ctx context.Context, opaque bool) (Reach, error) {
	all := Reach{map[chainID]*loadedChain{}, opaque}
	places, err := l.places(ctx)
	if err != nil || len(places) == 0 {
		return all, err
	}
	path, err := l.Observer.PathCounts(ctx)
	if err != nil {
		return all, err
	}
	steps, err := collect(l.Observer.Trace(ctx))
	traced := map[chainID]bool{}
	for _, s := range steps {
		traced[chainID{s.Family, s.Table, s.Chain}] = true
	}
	isTraced := err == nil // else the probes have to do
	for _, p := range places {
		id := chainID{p.Rule.Family, p.Rule.Table, p.Rule.Chain}
		c := all.chains[id]
		where := fmt.Sprintf("%v at priority %d", p.Hook, p.Priority)
		if p.NoIP {
			where = "without probes"
		}
		if c == nil {
			c = &loadedChain{where: where}
			all.chains[id] = c
		}
		c.rules = append(c.rules, fmt.Sprintf("%s: %s %s\n%s", where, p.Rule.Kind, p.Rule.Text, p.Contents))
		if isTraced && isTraceable(p) {
			c.reached = c.reached || traced[id]
		} else {
			c.reached = c.reached || passed(path, p)
		}
	}
	return all, nil
}

// isTraceable reports whether a trace has the rules of a place: see Step.
func isTraceable(p ruleset.Place) bool {
	// In prerouting and output the trace begins shortly before defragmentation.
	early := (p.Hook == nf.Prerouting || p.Hook == nf.Output) && p.Priority <= nf.PriorityDefrag
	return !p.NoIP && !early && p.Rule.Backend != string(netnsenv.IPTablesLegacy)
}

// passed reports whether packets may have got to a place, by the last probe before it.
func passed(path observe.Path, p ruleset.Place) bool {
	families := map[string][]nf.Family{"ip": {nf.IPv4}, "ip6": {nf.IPv6}, "inet": nf.Families()}[p.Rule.Family]
	if p.NoIP || families == nil {
		return true
	}
	for _, f := range families {
		var points []observe.Point // of the hook, in the order in which packets meet them
		for _, at := range path.Points {
			if at.Probe.Hook == p.Hook && at.Probe.Family == f {
				points = append(points, at)
			}
		}
		behind := slices.IndexFunc(points, func(at observe.Point) bool { return at.Probe.Priority >= p.Priority })
		if behind == 0 {
			return true // there is no probe before it
		}
		if behind < 0 {
			behind = len(points)
		}
		// The last one before it, and those behind it: who is there has passed it.
		if slices.ContainsFunc(points[max(0, behind-1):], func(at observe.Point) bool { return at.Packets > 0 }) {
			return true
		}
	}
	return false
}

// With returns the Reach of the packets of two Labs with the same rules.
func (r Reach) With(other Reach) Reach {
	if r.chains == nil {
		return other
	}
	both := Reach{map[chainID]*loadedChain{}, r.isOpaque || other.isOpaque}
	for id, c := range r.chains {
		sum := *c
		if o := other.chains[id]; o != nil {
			sum.reached = c.reached || o.reached
		}
		both.chains[id] = &sum
	}
	return both
}

// Vacuous returns why no packet could have shown a difference between two rulesets, which have these names: none got to a chain in
// which they differ. It returns "" if one could, or if they do not differ. Two readings of a counter, a quota or a timeout do
// not differ, but the elements of sets and maps do.
func (r Reach) Vacuous(other Reach, name, otherName string) string {
	if r.isOpaque || other.isOpaque || r.chains == nil || other.chains == nil {
		return ""
	}
	var differ []string
	for _, from := range []struct {
		of, other Reach
		name      string
	}{{r, other, name}, {other, r, otherName}} {
		for _, id := range slices.SortedFunc(maps.Keys(from.of.chains), func(a, b chainID) int { return cmp.Compare(a.String(), b.String()) }) {
			c := from.of.chains[id]
			if is := from.other.chains[id]; is != nil && slices.Equal(c.rules, is.rules) {
				continue
			}
			if c.reached {
				return ""
			}
			differ = append(differ, fmt.Sprintf("chain %v of %s (%s)", id, from.name, c.where))
		}
	}
	if len(differ) == 0 {
		return ""
	}
	return fmt.Sprintf("vacuous: no packet got to what differs between %s and %s: %s; send one that gets there", name, otherName, strings.Join(differ, ", "))
}

// isOpaque reports whether a Ruleset may load what is not rules.
func isOpaque(r netnsenv.Ruleset) bool {
	switch r.(type) {
	case netnsenv.Helper, netnsenv.TimeoutPolicy, netnsenv.Expect:
		return true
	}
	return false
}
