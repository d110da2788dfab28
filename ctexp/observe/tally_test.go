package observe

import (
	"errors"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSubOfTallies(t *testing.T) {
	t.Parallel()
	before := Tally{
		Packets: map[string]uint64{"raw/prerouting": 3}, Entries: 3, Dropped: 1, Evicted: 1, Invalid: 2, Collected: 1,
		Ended: Ended{TimedOut: 1},
		Law:   Law{Known: true, Free: 7, Room: 7, Before: 3, Behind: 2, Reading: Reading{1, 1}, Acted: 1},
	}
	after := Tally{
		Packets: map[string]uint64{"raw/prerouting": 8}, Entries: 1, Dropped: 5, Evicted: 1, Invalid: 3, InsertFailed: 2, Collected: 1,
		Ended: Ended{TimedOut: 3, ByPacket: 1},
		Law:   Law{Known: true, Free: 7, Room: 7, Before: 8, Behind: 6, Output: 1, BehindConntrack: []string{"a"}, Reading: Reading{1, 2}, Acted: 4},
	}
	want := Tally{
		Packets: map[string]uint64{"raw/prerouting": 5}, Entries: -2, Dropped: 4, Invalid: 1, InsertFailed: 2,
		Ended: Ended{TimedOut: 2, ByPacket: 1},
		Law:   Law{Known: true, Free: 4, Room: 7, Before: 5, Behind: 4, Output: 1, BehindConntrack: []string{"a"}, Reading: Reading{1, 2}, Acted: 3},
	}
	if diff := cmp.Diff(want, after.Sub(before)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A table has free entries only if there is a Room.
func TestSubKeepsThatThereIsNoRoom(t *testing.T) {
	t.Parallel()
	for free, want := range map[int]int{-1: -1, 0: 0, 3: 0, 7: 2} {
		after := Tally{Law: Law{Free: free}}
		if got := after.Sub(Tally{Entries: 5}).Law.Free; got != want {
			t.Errorf("%d free before 5 entries: %d, want %d", free, got, want)
		}
	}
}

// Two Tallies in the wrong order, or of two Observers, have no difference that could pass for a result.
func TestSubOfTalliesInTheWrongOrder(t *testing.T) {
	t.Parallel()
	at := func(r Reading, n uint64) Tally {
		return Tally{Packets: map[string]uint64{"raw/prerouting": n}, Dropped: n, Law: Law{Reading: r, Acted: n}}
	}
	for name, c := range map[string]struct {
		d    Tally
		want string
	}{
		"wrong order":        {at(Reading{1, 1}, 0).Sub(at(Reading{1, 2}, 5)), "wrong order"},
		"and once more":      {at(Reading{1, 3}, 5).Sub(at(Reading{1, 1}, 0).Sub(at(Reading{1, 2}, 5))), "wrong order"},
		"of two Observers":   {at(Reading{1, 1}, 0).Sub(at(Reading{2, 2}, 0)), "two Observers"},
		"in the right order": {at(Reading{1, 2}, 5).Sub(at(Reading{1, 1}, 5)), "vacuous"},
	} {
		diff := c.d.Diff(Tally{Packets: map[string]uint64{"raw/prerouting": c.d.Packets["raw/prerouting"]}, Dropped: c.d.Dropped})
		if !strings.Contains(diff, c.want) {
			t.Errorf("%s: Diff is %q", name, diff)
		}
		if err := c.d.Check(); strings.Contains(c.want, "order") && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: Check: %v", name, err)
		}
	}
	if d := at(Reading{1, 1}, 0).Sub(at(Reading{1, 2}, 5)); d.Packets["raw/prerouting"] == 0 || d.Dropped == 0 {
		t.Errorf("wrong order: zero counts: %v", d)
	}
}

func TestTallyPrintsItsProbesInPathOrder(t *testing.T) {
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

// lawful is a Tally of 10 SYNs into a table with room for 7.
func lawful() Tally {
	return Tally{Entries: 7, Dropped: 3, Law: Law{Known: true, Silent: true, Free: 7, Before: 10, Behind: 7}}
}

func TestCheckNamesTheBrokenLaw(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want  string // "" for none
		spoil func(*Tally)
	}{
		{"", func(*Tally) {}},
		{"before = behind + dropped: 10 ≠ 7 + 2", func(x *Tally) { x.Dropped = 2 }},
		{"min(before, free) ≤ behind: min(10, 7) > 6", func(x *Tally) { x.Law.Behind, x.Dropped, x.Entries = 6, 4, 6 }},
		{"behind ≤ min(before, free + evicted + collected): 8 > min(10, 7 + 0 + 0)", func(x *Tally) { x.Law.Behind, x.Dropped, x.Entries = 8, 2, 8 }},
		{"", func(x *Tally) { x.Law.Behind, x.Dropped, x.Evicted = 8, 2, 1 }},
		// Without a silent host the first law still holds.
		{"before = behind + dropped: 10 ≠ 7 + 2", func(x *Tally) { x.Law.Silent, x.Dropped = false, 2 }},
	} {
		x := lawful()
		c.spoil(&x)
		err := x.Check()
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%+v: %v", x, err)
		case c.want != "" && (err == nil || !strings.HasSuffix(err.Error(), c.want) || errors.Is(err, ErrLawNotApplicable)):
			t.Errorf("%+v:\n got %v\nwant %v", x, err, c.want)
		}
	}
}

func TestCheckNamesTheMissingPrecondition(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want string
		lack func(*Tally)
	}{
		{"the packets on both sides of conntrack were not counted", func(x *Tally) { x.Law.Known = false }},
		{"conntrack saw 2 packets of the host itself", func(x *Tally) { x.Law.Output = 2 }},
		{"1 packets lost their entry at the confirmation", func(x *Tally) { x.InsertFailed = 1 }},
		{"the host is not silent", func(x *Tally) { x.Law.Silent = false }},
		{"the number of free entries is not known", func(x *Tally) { x.Law.Free = -1 }},
		{"the filler itself may be evicted", func(x *Tally) { x.Law.Unreplied = true }},
		{"1 packets were invalid", func(x *Tally) { x.Invalid = 1 }},
		{"2 entries ended otherwise than by eviction or collection", func(x *Tally) { x.Ended.TimedOut, x.Ended.ByPacket = 1, 1 }},
		{"7 packets passed conntrack, 0 entries were evicted and 0 collected, and 5 are there: not every packet created its own entry", func(x *Tally) { x.Entries = 5 }},
	} {
		x := lawful()
		c.lack(&x)
		err := x.Check()
		if !errors.Is(err, ErrLawNotApplicable) || err.Error() != "law not applicable: "+c.want {
			t.Errorf("\n got %v\nwant %v", err, c.want)
		}
	}
}

// want is the Tally of 10 SYNs and a table with room for 7; each case is a possible random outcome, likely enough to happen
// in a million repetitions.
func TestDiffIsEmptyForAnyRandomOutcome(t *testing.T) {
	t.Parallel()
	want := Tally{
		Packets: map[string]uint64{"raw/prerouting": 10, "mangle/prerouting": 7, "filter/input": 7, "mangle/forward": 0},
		Entries: 7, Dropped: 3,
	}
	for _, c := range []struct {
		name                        string
		buckets                     int
		behind                      uint64
		entries                     int
		dropped, evicted, collected uint64
	}{
		{"nothing struck", 262144, 7, 7, 3, 0, 0},
		{"one flow evicted another", 262144, 8, 7, 2, 1, 0},
		{"each that found no room evicted another, in a small table", 256, 10, 7, 0, 3, 0},
		{"one bucket gave two, in a small table", 256, 8, 6, 2, 2, 0},
		{"all were collected afterwards", 262144, 7, 0, 3, 0, 7},
		{"one was evicted, three collected afterwards", 262144, 8, 4, 2, 1, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := Tally{
				Packets: map[string]uint64{"raw/prerouting": 10, "mangle/prerouting": c.behind, "filter/input": c.behind, "mangle/forward": 0},
				Entries: c.entries, Dropped: c.dropped, Evicted: c.evicted, Collected: c.collected,
				Law: Law{
					Known: true, Silent: true, Free: 7, Room: 7, Buckets: c.buckets, Before: 10, Behind: c.behind,
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

// What chance does not explain is a difference, whose first line says why nothing was shifted.
func TestDiffDoesNotShiftWhatIsNoChance(t *testing.T) {
	t.Parallel()
	want := Tally{Entries: 7, Dropped: 3}
	for name, c := range map[string]struct {
		got  Tally
		says string
	}{
		"more evictions than the odds allow": {
			Tally{Entries: 7, Evicted: 3, Law: Law{Room: 7, Buckets: 262144}},
			"3 more entries than wanted were evicted, but chance explains at most 1 (of 3 packets that found the table full, by 7 entries in 262144 buckets, but once in a million)",
		},
		"no filler":         {Tally{Entries: 6, Dropped: 3, Evicted: 1}, "without an assured filler the odds of 1 evictions are not known"},
		"un-replied filler": {Tally{Entries: 7, Dropped: 2, Evicted: 1, Law: Law{Unreplied: true}}, "evictions are the rule, not chance"},
		"timed out":         {Tally{Entries: 6, Dropped: 3, Ended: Ended{TimedOut: 1}, Law: Law{Room: 7, Buckets: 262144}}, "Entries"},
		"aged":              {Tally{Entries: 6, Dropped: 3, Ended: Ended{Aged: 1}, Law: Law{Room: 7, Buckets: 262144}}, "Entries"},
		"with an interface": {Tally{Entries: 6, Dropped: 3, Ended: Ended{Removed: 1}, Law: Law{Room: 7, Buckets: 262144}}, "Entries"},
	} {
		if diff := c.got.Diff(want); !strings.Contains(diff, c.says) {
			t.Errorf("%s: diff %q", name, diff)
		}
	}
}

// Ended is compared only if it is stated.
func TestDiffComparesEndedIfWanted(t *testing.T) {
	t.Parallel()
	got := Tally{Ended: Ended{TimedOut: 2}}
	if diff := got.Diff(Tally{}); diff != "" {
		t.Errorf("not stated: %s", diff)
	}
	if diff := got.Diff(Tally{Ended: Ended{TimedOut: 2}}); diff != "" {
		t.Errorf("stated: %s", diff)
	}
	if diff := got.Diff(Tally{Ended: Ended{TimedOut: 1}}); diff == "" {
		t.Error("stated wrongly: no difference")
	}
}

// A difference that chance does not explain remains, and the diff says how want was shifted.
func TestDiffSaysHowWantWasShifted(t *testing.T) {
	t.Parallel()
	got := Tally{
		Packets: map[string]uint64{"raw/prerouting": 9, "mangle/prerouting": 8}, Entries: 7, Dropped: 2, Evicted: 1,
		Law: Law{Room: 7, Buckets: 262144, BehindConntrack: []string{"mangle/prerouting"}},
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

func TestDiffWithoutChanceIsExact(t *testing.T) {
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

// What the kernel does not tell the cause of is not chance: nothing is shifted, and the Diff says why.
func TestDiffSaysThatEndsAreUntold(t *testing.T) {
	t.Parallel()
	got := Tally{Packets: map[string]uint64{"raw/prerouting": 10}, Entries: 6, Ended: Ended{Untold: 1}, Law: Law{Room: 7, Buckets: 65536, AnyAct: true}}
	want := Tally{Packets: map[string]uint64{"raw/prerouting": 10}, Entries: 7}
	const first = "this kernel does not tell what removed 1 entries; the collector of a full table may have taken some by chance\n"
	if diff := got.Diff(want); !strings.HasPrefix(diff, first) {
		t.Errorf("got %q, want it to begin with %q", diff, first)
	}
	if err := got.Check(); !errors.Is(err, ErrLawNotApplicable) {
		t.Errorf("check: %v", err)
	}
	want.Entries = 6
	if diff := got.Diff(want); diff != "" {
		t.Errorf("the entries are as wanted: %s", diff)
	}
}

// A count is a field and a row of the list: none has one without the other, and the name of a statistic is one of Stats.
func TestEveryCountOfATallyIsListed(t *testing.T) {
	t.Parallel()
	for name, of := range map[string]struct {
		value any
		list  []namedCount
	}{
		"Tally": {&Tally{}, (&Tally{}).counts()[:5]},
		"Ended": {&Ended{}, (&Ended{}).counts()},
		"Stats": {&Stats{}, (&Stats{}).counts()},
	} {
		fields := 0
		for _, f := range reflect.VisibleFields(reflect.TypeOf(of.value).Elem()) {
			if f.Type.Kind() == reflect.Uint64 {
				fields++
			}
		}
		if len(of.list) != fields {
			t.Errorf("%s: %d counts, %d of them listed", name, fields, len(of.list))
		}
	}
	stats := maps.Collect(Stats{}.All())
	for _, c := range (&Tally{}).counts() {
		if _, ok := stats[c.stat]; !ok && c.stat != "" {
			t.Errorf("%s: Stats has no %q", c.name, c.stat)
		}
	}
}
