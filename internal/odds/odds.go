// Package odds knows what chance explains where a conntrack table is full: whether the kernel finds an entry to evict depends
// on where the hash puts it.
package odds

import "math"

// Evictable is the mean number of entries that one search for an entry to evict comes across, if a table in that many
// buckets has that many entries which may be evicted (net/netfilter/nf_conntrack_core.c, early_drop). The number is Poisson
// distributed.
func Evictable(entries, buckets int) float64 {
	const searched, sides = 8, 2 // NF_CT_EVICTION_RANGE; an entry is in the buckets of both of its tuples
	return searched * sides * float64(entries) / float64(buckets)
}

// AtMost returns the smallest n that a Poisson distributed number exceeds with a probability below p.
func AtMost(mean, p float64) int {
	if mean == 0 {
		return 0
	}
	// The tail behind n is at most the term of n+1 divided by 1-mean/(n+2), as the terms fall faster than that.
	logMean := math.Log(mean)
	for n := int(mean); ; n++ {
		next, _ := math.Lgamma(float64(n + 2))
		tail := math.Exp(float64(n+1)*logMean-mean-next) / (1 - mean/float64(n+2))
		if tail < p {
			return n
		}
	}
}
