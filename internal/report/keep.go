package report

// kept is an item of a list of which only some are shown, or, where Gap is not zero, so many that are not.
type kept[T any] struct {
	Item T
	Gap  int
}

// keep returns at most about most items: the first ones, and of the others those that matter. What was left out in
// between is counted, as is more, which was left out before.
func keep[T any](items []T, most, more int, matters func(T) bool) []kept[T] {
	first := len(items)
	if first > most {
		first = most * 2 / 3
	}
	var out []kept[T]
	gap := 0
	for i, item := range items {
		if i >= first && (len(out) >= most || !matters(item)) {
			gap++
			continue
		}
		if gap > 0 {
			out = append(out, kept[T]{Gap: gap})
			gap = 0
		}
		out = append(out, kept[T]{Item: item})
	}
	if gap += more; gap > 0 {
		out = append(out, kept[T]{Gap: gap})
	}
	return out
}
