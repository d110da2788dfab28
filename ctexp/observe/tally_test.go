package observe

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSubOfTallies(t *testing.T) {
	t.Parallel()
	before := Tally{
		Packets: map[string]uint64{"raw/prerouting": 3}, Entries: 3, Dropped: 1, Evicted: 1, Invalid: 2, Collected: 1,
		Law: Law{Known: true, Free: 7, Before: 3, Behind: 2},
	}
	after := Tally{
		Packets: map[string]uint64{"raw/prerouting": 8}, Entries: 1, Dropped: 5, Evicted: 1, Invalid: 3, InsertFailed: 2,
		Law: Law{Known: true, Free: 7, Before: 8, Behind: 6, Output: 1, BehindConntrack: []string{"a"}},
	}
	want := Tally{
		Packets: map[string]uint64{"raw/prerouting": 5}, Entries: -2, Dropped: 4, Invalid: 1, InsertFailed: 2,
		Law: Law{Known: true, Free: 4, Before: 5, Behind: 4, Output: 1, BehindConntrack: []string{"a"}},
	}
	if diff := cmp.Diff(want, after.Sub(before)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTallyPrintsItsProbesInThePathsOrder(t *testing.T) {
	t.Parallel()
	got := Tally{
		Packets: map[string]uint64{"mine": 1, "mangle/prerouting": 7, "ip6/raw/prerouting": 2, "raw/prerouting": 10, "another": 0},
		Entries: 7, Dropped: 3, InsertFailed: 1,
	}.String()
	const want = "raw/prerouting 10, mangle/prerouting 7, ip6/raw/prerouting 2, another 0, mine 1, entries 7, dropped 3, insert_failed 1"
	if got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}
