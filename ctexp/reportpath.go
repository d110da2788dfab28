package ctexp

import (
	"maps"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/report"
)

// pathCounts adds to the path what the links have brought, and what the kernel has counted and said of losses.
func (c *collector) pathCounts() {
	to := &c.d.Path
	for _, f := range []nf.Family{nf.IPv4, nf.IPv6} {
		if n := c.path.Arrived[f]; n > 0 {
			to.Arrived = append(to.Arrived, report.Count{Name: f.String(), N: int64(n)})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.path.MIB)) {
		to.MIB = append(to.MIB, report.Count{Name: name, N: int64(c.path.MIB[name])})
	}
	for _, t := range c.path.Thrown {
		thrown := report.Thrown{Reason: t.Reason, Function: t.Function, Packets: t.Packets}
		if t.Family != 0 {
			thrown.Family = t.Family.String()
		}
		to.Thrown = append(to.Thrown, thrown)
	}
	to.Notes = c.path.Notes()
}
