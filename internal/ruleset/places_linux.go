package ruleset

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Places returns all rules and the policies that drop, without counts, once for each base chain from which they are reached. Rules that
// nothing leads to are left out.
func (s Ruleset) Places() (all []Place) {
	add := func(d Drop, noIP, contents bool) {
		d.Rule.Handle, d.Rule.Packets, d.Rule.Bytes = 0, 0, 0
		all = append(all, Place{d.Rule, d.Hook, d.Priority, noIP, contents})
	}
	accepts := func(r nf.Rule, target string) bool { return r.Kind == nf.KindPolicy && target == "ACCEPT" }
	for _, d := range iptablesPlaced(s.legacy, func(r nf.Rule, target string) bool { return !accepts(r, target) }) {
		add(d, false, usesSets.MatchString(d.Rule.Text))
	}
	for _, t := range s.tables {
		var found []Drop
		contents := map[uint64]bool{} // by handle
		for _, c := range t.chains {
			for _, r := range c.rules {
				found = append(found, Drop{Rule: r.line})
				found[len(found)-1].Rule.Handle = r.handle
				contents[r.handle] = r.usesContents()
			}
			if c.base && c.drop {
				found = append(found, Drop{Rule: t.policy(c)})
			}
		}
		if !slices.Contains([]uint8{unix.NFPROTO_INET, unix.NFPROTO_IPV4, unix.NFPROTO_IPV6}, t.family) {
			for _, d := range found {
				add(d, true, contents[d.Rule.Handle])
			}
			continue
		}
		bases, jumps := t.ways()
		for _, d := range placed(found, bases, jumps) {
			add(d, false, contents[d.Rule.Handle])
		}
	}
	return all
}

// usesContents reports whether what the rule does depends on something with a name that its text does not show: the elements of a set,
// an object, a set of ipset.
func (r rule) usesContents() bool {
	return slices.ContainsFunc(r.exprs, func(e expression) bool {
		switch e.name {
		case "lookup":
			return !strings.HasPrefix(e.text(unix.NFTA_LOOKUP_SET), "__") // those of anonymous sets and maps are in the text
		case "dynset", "objref":
			return true
		case "match":
			return e.text(unix.NFTA_MATCH_NAME) == "set"
		}
		return false
	})
}
