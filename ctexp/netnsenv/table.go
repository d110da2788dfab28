package netnsenv

import (
	"iter"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Watcher reads the events of a namespace while Table operations cause many of them. An Observer can be one.
type Watcher struct {
	// Drain is called after each batch of requests, at most 128. It reads the events queued so far, so that they do not
	// overrun the receive buffer. It may be nil.
	Drain func()
	// Entries yields the entries that a filter selects, with at least their tuples, zone, status and timeout. Age, and Flush
	// of few entries, use it in place of a dump, which takes 10 ms, or 60 ms beside a filler. It may be nil.
	Entries func(nf.Filter) iter.Seq2[nf.Entry, error]
	// Had returns nil if a filter that selects no entry has selected one earlier, or if it does not matter, and else an error that says
	// why that is not known to have been. Then Age returns it with ErrNoEntry. It may be nil: no entry was there.
	Had func(nf.Filter) error
}
