package observe

import "github.com/ctexp/go-ctexp/ctexp/nf"

// saturatingSub returns a - b, or 0 if b is larger.
func saturatingSub(a, b uint64) uint64 {
	if a < b {
		return 0
	}
	return a - b
}

// subCounts returns what was counted between before and after, without zeros; nil if after is nil.
func subCounts[K comparable](after, before map[K]uint64) map[K]uint64 {
	if after == nil {
		return nil
	}
	d := map[K]uint64{}
	for k, n := range after {
		if n = saturatingSub(n, before[k]); n > 0 {
			d[k] = n
		}
	}
	return d
}

// subList returns the counts of a list between before and after: key returns a value without its counts, and sub subtracts
// those of an earlier value and reports whether the rest is to be kept. It is nil if after is nil.
func subList[T any, K comparable](after, before []T, key func(T) K, sub func(*T, T) bool) []T {
	if after == nil {
		return nil
	}
	earlier := make(map[K]T, len(before))
	for _, v := range before {
		earlier[key(v)] = v
	}
	d := []T{}
	for _, v := range after {
		if sub(&v, earlier[key(v)]) {
			d = append(d, v)
		}
	}
	return d
}

// subAnswered is subCounts for what the host answered.
func subAnswered(after, before map[nf.Family]Answered) map[nf.Family]Answered {
	if after == nil {
		return nil
	}
	d := map[nf.Family]Answered{}
	for f, a := range after {
		b := before[f]
		if a = (Answered{saturatingSub(a.Input, b.Input), saturatingSub(a.Postrouting, b.Postrouting)}); a != (Answered{}) {
			d[f] = a
		}
	}
	return d
}
