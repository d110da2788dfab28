package report

import (
	"cmp"
	"slices"
	"strings"
)

// tidy returns d with its reasons said once: what is shown beside the name of a part, or of a verdict, does not begin with
// it again. A law that is not applicable to a table without a limit is left out: nobody asked for it. The sysctls that the
// experiment has set come before those that ctexp has.
func (d Data) tidy() Data {
	missing := make([]Missing, len(d.Missing))
	for i, m := range d.Missing {
		m.Why = strings.TrimPrefix(m.Why, m.Part+": ")
		missing[i] = m
	}
	var laws []Law
	for _, l := range d.Laws {
		if l.Verdict == NotApplicable && !d.Room.Limited {
			continue
		}
		for _, prefix := range []string{"law not applicable: ", "law broken: "} {
			l.Why = strings.TrimPrefix(l.Why, prefix)
		}
		laws = append(laws, l)
	}
	d.Missing, d.Laws = missing, laws
	d.Sysctls = slices.Clone(d.Sysctls)
	slices.SortStableFunc(d.Sysctls, func(a, b Sysctl) int { return cmp.Compare(rank(a.By), rank(b.By)) })
	return d
}

// rank puts what ctexp itself has set behind what the experiment has.
func rank(setter string) int {
	if setter == "ctexp" {
		return 1
	}
	return 0
}
