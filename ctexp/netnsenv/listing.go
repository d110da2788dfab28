package netnsenv

import (
	"context"
	"fmt"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Listing returns a Ruleset that puts the entries of a text into the conntrack table, as people have them from conntrack -L in
// any form or from /proc/net/nf_conntrack (see nf.ParseListing): an experiment starts from the state of another machine. It
// loads nothing if a line cannot be read, and ends at the first entry that the kernel rejects. Expectations of the text, and
// what only the kernel sets, such as counters and IDs, are left out. An entry without a timeout, as in the event of its end,
// cannot be created.
func Listing(text string) Ruleset { return listing(text) }

type listing string

// Load implements Ruleset.
func (l listing) Load(ctx context.Context, e *Env) error {
	entries, err := nf.ParseEntries(string(l))
	if err != nil {
		return fmt.Errorf("listing: %w", err)
	}
	if n, err := e.Table().CreateAll(ctx, slices.Values(entries)); err != nil {
		return fmt.Errorf("listing: %d of %d entries created: %w", n, len(entries), err)
	}
	return nil
}
