package observe

import (
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// attached is where a base chain stands.
type attached struct {
	hook     nf.Hook
	priority int32
}

// anywhere as the aim of a jump means every chain of the table: a verdict map leads there.
const anywhere = "*"

// reached returns from where the chains of a table are reached: bases are the base chains, jumps lead from a chain to others.
func reached(bases map[string]attached, jumps map[string][]string) map[string][]attached {
	all := map[string]bool{}
	for from, tos := range jumps {
		all[from] = true
		for _, to := range tos {
			all[to] = true
		}
	}
	from := map[string][]attached{}
	for name, base := range bases {
		seen := map[string]bool{}
		next := []string{name}
		for len(next) > 0 {
			chain := next[0]
			next = next[1:]
			if _, isBase := bases[chain]; seen[chain] || isBase && chain != name {
				continue
			}
			seen[chain] = true
			if chain != anywhere {
				from[chain] = append(from[chain], base)
			}
			for _, to := range jumps[chain] {
				next = append(next, to)
				if to == anywhere {
					for c := range all {
						next = append(next, c)
					}
				}
			}
		}
	}
	for _, places := range from {
		slices.SortFunc(places, func(a, b attached) int { return int(a.hook) - int(b.hook) })
	}
	return from
}

// placed returns each drop once for each place from which its chain is reached.
func placed(found []Drop, bases map[string]attached, jumps map[string][]string) []Drop {
	from := reached(bases, jumps)
	var drops []Drop
	for _, d := range found {
		for _, at := range from[d.Rule.Chain] {
			d.Hook, d.Priority = at.hook, at.priority
			drops = append(drops, d)
		}
	}
	return drops
}
