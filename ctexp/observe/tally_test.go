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

// full is the Tally of 10 SYNs and a table with room for 7. Each case is a possible random outcome.
func TestDiffIsEmptyForAnyRandomOutcome(t *testing.T) {
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

// A difference that chance does not explain remains, and the diff says how want was shifted.
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

// An eviction from a filler that can be evicted need not remove an entry of the experiment.
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

// A count is a field and a row of the list: none has one without the other, and the name of a statistic is one of Stats.
func TestEveryCountOfATallyIsListed(t *testing.T) {
	t.Parallel()
	for name, of := range map[string]struct {
		value any
		list  []namedCount
	}{
		"Tally": {&Tally{}, (&Tally{}).counts()},
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
