package observe

import (
	"errors"
	"strings"
	"testing"
)

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
		// Without a silent host the first law still binds.
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

func TestCheckSaysWhatLacksForALaw(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want string
		lack func(*Tally)
	}{
		{"the packets on both sides of conntrack were not counted", func(x *Tally) { x.Law.Known = false }},
		{"conntrack saw 2 packets of the host itself", func(x *Tally) { x.Law.Output = 2 }},
		{"1 packets lost their entry at the confirmation", func(x *Tally) { x.InsertFailed = 1 }},
		{"the host is not silent", func(x *Tally) { x.Law.Silent = false }},
		{"nobody said how many entries were free", func(x *Tally) { x.Law.Free = -1 }},
		{"the filler itself may be evicted", func(x *Tally) { x.Law.Unreplied = true }},
		{"1 packets were invalid", func(x *Tally) { x.Invalid = 1 }},
		{"7 packets passed conntrack, 0 entries were evicted and 0 collected, and 5 are there: not every packet made an entry of its own", func(x *Tally) { x.Entries = 5 }},
	} {
		x := lawful()
		c.lack(&x)
		err := x.Check()
		if !errors.Is(err, ErrLawNotApplicable) || err.Error() != "law not applicable: "+c.want {
			t.Errorf("\n got %v\nwant %v", err, c.want)
		}
	}
}
