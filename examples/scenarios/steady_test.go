package scenarios

import (
	"net/netip"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// steady returns entries without what differs from run to run: their numbers and times, and how much of their time has gone by, as
// long as that is under ten seconds.
func steady(entries []nf.Entry) []nf.Entry {
	for i := range entries {
		e := &entries[i]
		e.ID, e.Start, e.Stop = 0, time.Time{}, time.Time{}
		e.Timeout = (e.Timeout + 10*time.Second - 1).Truncate(10 * time.Second)
	}
	return entries
}

// prefixes returns the prefixes that are written so; without any an empty list, which is not nil.
func prefixes(written ...string) []netip.Prefix {
	list := []netip.Prefix{}
	for _, s := range written {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}
