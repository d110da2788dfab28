package observe

import (
	"strings"
	"testing"
)

// full is a table with room for 7, and 10 SYNs; each case is what the kernel's dice may make of it.
func TestDiffIsEmptyWhateverTheDice(t *testing.T) {
	t.Parallel()
	want := Tally{
		Packets: map[string]uint64{"raw/prerouting": 10, "mangle/prerouting": 7, "filter/input": 7, "mangle/forward": 0},
		Entries: 7, Dropped: 3,
	}
	for _, c := range []struct {
		name                        string
		behind                      uint64
		entries                     int
		dropped, evicted, collected uint64
	}{
		{"nothing struck", 7, 7, 3, 0, 0},
		{"one flow evicted another", 8, 7, 2, 1, 0},
		{"each that found no room evicted another", 10, 7, 0, 3, 0},
		{"one bucket gave two", 8, 6, 2, 2, 0},
		{"all were collected afterwards", 7, 0, 3, 0, 7},
		{"one was evicted, three collected afterwards", 8, 4, 2, 1, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := Tally{
				Packets: map[string]uint64{"raw/prerouting": 10, "mangle/prerouting": c.behind, "filter/input": c.behind, "mangle/forward": 0},
				Entries: c.entries, Dropped: c.dropped, Evicted: c.evicted, Collected: c.collected,
				Law: Law{
					Known: true, Silent: true, Free: 7, Before: 10, Behind: c.behind,
					BehindConntrack: []string{"mangle/prerouting", "filter/input", "mangle/forward"},
				},
			}
			if diff := got.Diff(want); diff != "" {
				t.Errorf("diff (-want +got):\n%s", diff)
			}
			if err := got.Check(); err != nil {
				t.Errorf("check: %v", err)
			}
		})
	}
}

// A difference that the dice do not explain stays one, and the diff says what they did.
func TestDiffSaysHowWantWasShifted(t *testing.T) {
	t.Parallel()
	got := Tally{
		Packets: map[string]uint64{"raw/prerouting": 9, "mangle/prerouting": 8}, Entries: 7, Dropped: 2, Evicted: 1,
		Law: Law{BehindConntrack: []string{"mangle/prerouting"}},
	}
	diff := got.Diff(Tally{
		Packets: map[string]uint64{"raw/prerouting": 10, "mangle/prerouting": 7}, Entries: 7, Dropped: 3,
	})
	first, rest, _ := strings.Cut(diff, "\n")
	const want = "by chance 1 more entries than wanted left the table (evicted 1, collected 0), so want was shifted: " +
		"entries +0, dropped -1, mangle/prerouting +1"
	if first != want {
		t.Errorf("first line\n got %s\nwant %s", first, want)
	}
	for _, s := range []string{"raw/prerouting"} {
		if !strings.Contains(rest, s) {
			t.Errorf("want %q in the diff:\n%s", s, rest)
		}
	}
}

func TestDiffWithoutDiceIsExact(t *testing.T) {
	t.Parallel()
	want := Tally{Packets: map[string]uint64{"raw/prerouting": 10}, Entries: 7, Dropped: 3, Evicted: 2}
	for _, c := range []struct {
		name string
		got  Tally
		same bool
	}{
		{"equal", Tally{Packets: map[string]uint64{"raw/prerouting": 10}, Entries: 7, Dropped: 3, Evicted: 2, Law: Law{Free: 3}}, true},
		{"fewer evictions than wanted", Tally{Packets: map[string]uint64{"raw/prerouting": 10}, Entries: 7, Dropped: 3, Evicted: 1}, false},
		{"another probe", Tally{Packets: map[string]uint64{"raw/prerouting": 10, "mine": 0}, Entries: 7, Dropped: 3, Evicted: 2}, false},
		{"an invalid packet", Tally{Packets: map[string]uint64{"raw/prerouting": 10}, Entries: 7, Dropped: 3, Evicted: 2, Invalid: 1}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := c.got.Diff(want); (diff == "") != c.same {
				t.Errorf("diff %q", diff)
			}
		})
	}
	if diff := (Tally{Packets: map[string]uint64{}}).Diff(Tally{}); diff != "" {
		t.Errorf("no probes and none wanted: %s", diff)
	}
}

// What evicts entries of a filler that may go itself need not take one of the experiment's.
func TestDiffWithAnUnrepliedFiller(t *testing.T) {
	t.Parallel()
	want := Tally{Packets: map[string]uint64{"mangle/prerouting": 0}, Dropped: 10}
	got := Tally{
		Packets: map[string]uint64{"mangle/prerouting": 4}, Entries: 4, Dropped: 6, Evicted: 6,
		Law: Law{Unreplied: true, BehindConntrack: []string{"mangle/prerouting"}},
	}
	if diff := got.Diff(want); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
