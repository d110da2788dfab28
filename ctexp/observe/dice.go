package observe

import (
	"fmt"
	"maps"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// Diff returns how t differs from want, in the form of cmp.Diff with -want and +got, or "" where it does not.
//
// It compares up to the dice. With a full table the kernel sometimes evicts an entry for a new flow, or collects some
// (see Tally.Evicted and Tally.Collected); how often is chance. Where t has more of both than want, the numbers of
// want are first shifted to what follows from that: a packet may have got through for each such entry, so that there
// is one drop less and one packet more at the probes behind conntrack, and the entry is gone from the table. So a test
// can state the plain numbers and is never red by luck. If there is still a difference, its first lines say how want
// was shifted.
func (t Tally) Diff(want Tally) string {
	shifted, why := t.loadDice(want)
	got := t
	got.Law, shifted.Law = Law{}, Law{}
	diff := cmp.Diff(shifted, got, cmpopts.EquateEmpty())
	if diff == "" || why == "" {
		return diff
	}
	return why + "\n" + diff
}

// loadDice returns want shifted by what chance gave t beyond it, and what it did, "" for nothing.
func (t Tally) loadDice(want Tally) (Tally, string) {
	surplus := saturatingSub(t.Evicted+t.Collected, want.Evicted+want.Collected)
	if surplus == 0 {
		return want, ""
	}
	through := min(saturatingSub(want.Dropped, t.Dropped), surplus)

	shifted := want
	shifted.Evicted, shifted.Collected = t.Evicted, t.Collected
	shifted.Dropped -= through
	shifted.Entries += int(through) - int(surplus)
	if t.Law.Unreplied { // the entries that left may be the filler's
		shifted.Entries = min(max(t.Entries, shifted.Entries), want.Entries+int(through))
	}
	shifted.Packets = maps.Clone(want.Packets)
	var probes []string
	for _, name := range t.Law.BehindConntrack {
		// Which way the packet took behind conntrack, and whether the probe's match means it, is not known.
		more := min(saturatingSub(t.Packets[name], want.Packets[name]), through)
		if _, ok := shifted.Packets[name]; ok && more > 0 {
			shifted.Packets[name] += more
			probes = append(probes, fmt.Sprintf("%s +%d", name, more))
		}
	}

	var b strings.Builder
	fmt.Fprintf(&b, "by chance %d more entries than wanted left the table (evicted %d, collected %d), so want was shifted:",
		surplus, t.Evicted, t.Collected)
	fmt.Fprintf(&b, " entries %+d, dropped %+d", shifted.Entries-want.Entries, -int(through))
	for _, p := range probes {
		fmt.Fprintf(&b, ", %s", p)
	}
	return shifted, b.String()
}
