package observe

import (
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// FindByEvents returns the flows that were found by their events, or false if they could not be.
func FindByEvents(o *Observer, f nf.Filter) ([]nf.Entry, bool) {
	l, ok, err := o.findByEvents(f)
	slices.SortFunc(l.entries, byTuple)
	return l.entries, ok && err == nil
}
