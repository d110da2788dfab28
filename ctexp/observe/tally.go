package observe

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/odds"
	"github.com/ctexp/go-ctexp/internal/plain"
)

// Tally is what was counted since the Observer was opened, or between two Tallies (see Sub).
type Tally struct {
	// Packets has the count of each probe of Config.Probes by its name, and no others.
	Packets map[string]uint64
	// Entries is how many more entries the table has than at the start, without the filler. It may be negative in a
	// difference.
	Entries int
	// Dropped counts packets that conntrack dropped, the host's own included, almost always because the table was
	// full ("drop" of the kernel's statistics). It includes some of InsertFailed.
	Dropped uint64
	// Evicted counts entries that early_drop removed from a full table to make room for a new flow ("early_drop").
	Evicted uint64
	// Collected counts entries that the garbage collector removed before their time, because the table stood at 95 % or
	// more of its limit and they were not assured or were closing (net/netfilter/nf_conntrack_core.c, gc_worker). Before
	// Linux 5.13 they are among Ended.Untold.
	Collected uint64
	// Invalid counts packets that the protocol trackers found invalid ("invalid"), except ICMP errors, which have
	// their own count.
	Invalid uint64
	// InsertFailed counts packets whose entry could not be inserted at the confirmation ("insert_failed").
	InsertFailed uint64
	// Ended counts the entries that were removed neither by eviction nor by collection.
	Ended Ended

	// Law has what Check and Diff need besides the counts. Diff does not compare it.
	Law Law
}

// Ended counts entries by what removed them, as far as their DESTROY events show it (see fateOf).
type Ended struct {
	TimedOut  uint64 // their own time was over
	Aged      uint64 // Lab.Age ended their time
	ByPacket  uint64 // a packet ended or replaced them: a RST, a SYN that reopens a closed connection
	ByNetlink uint64 // a netlink request deleted them; not counted with Config.NoEvents
	// Removed counts those that the kernel removed before their time though the table was not almost full, or though
	// they were assured: with an interface or an address that masquerading used, with a helper or a module
	// (net/netfilter/nf_conntrack_core.c, nf_ct_iterate_cleanup_net).
	Removed uint64
	// Untold counts those of which the kernel does not tell what removed them, because its DESTROY events have neither the
	// time that was left nor the state: before Linux 5.13 (86d21fc74745 "netfilter: ctnetlink: add timeout and protoinfo to
	// destroy events") all but Aged, ByNetlink and the evicted ones. The collected ones are among them.
	Untold uint64
}

func (e Ended) sum() uint64 {
	return e.TimedOut + e.Aged + e.ByPacket + e.ByNetlink + e.Removed + e.Untold
}

// Sub returns what was counted between before and t, two Tallies of the same Observer. If before was read after t, or
// by another Observer, counts are as large as a negative number is when it is read as an unsigned one, and Diff and
// Check say what is wrong.
func (t Tally) Sub(before Tally) Tally {
	d := t
	d.Packets = make(map[string]uint64, len(t.Packets))
	for name, n := range t.Packets {
		d.Packets[name] = n - before.Packets[name]
	}
	d.Entries -= before.Entries
	subtract(d.counts(), before.counts())
	d.Law = t.Law.sub(before)
	return d
}

// String prints the counts on one line, the probes in the order in which packets meet them. Of the other counts it
// prints entries and those that are not zero: "raw/prerouting 10, mangle/prerouting 7, entries 7, dropped 3".
func (t Tally) String() string {
	var s []string
	for name, n := range t.All() {
		if _, probe := t.Packets[name]; probe || name == "entries" || n != 0 {
			s = append(s, fmt.Sprintf("%s %d", plain.Line(name), n))
		}
	}
	return strings.Join(s, ", ")
}

// All yields all counts by name: the probes in the order in which packets meet them, "entries", and the others.
func (t Tally) All() iter.Seq2[string, int64] {
	return func(yield func(string, int64) bool) {
		for _, name := range t.Names() {
			if !yield(name, int64(t.Packets[name])) {
				return
			}
		}
		if !yield("entries", int64(t.Entries)) {
			return
		}
		for _, c := range t.counts() {
			if !yield(c.name, int64(*c.n)) {
				return
			}
		}
	}
}

// Names returns the names of the probes, the standard ones in the order in which packets meet them.
func (t Tally) Names() []string { return inPathOrder(t.Packets) }

// inPathOrder returns the names of the standard probes in path order, IPv4 before IPv6, then the others in
// alphabetical order.
func inPathOrder(packets map[string]uint64) []string {
	var names []string
	for _, f := range nf.Families() {
		for _, p := range nf.PathProbes(f) {
			if _, ok := packets[p.Name]; ok {
				names = append(names, p.Name)
			}
		}
	}
	standard := len(names)
	for name := range packets {
		if !slices.Contains(names[:standard], name) {
			names = append(names, name)
		}
	}
	slices.Sort(names[standard:])
	return names
}

// counts lists all counts except packets and entries. They are read, subtracted, printed and reported by this list.
func (t *Tally) counts() []namedCount {
	return append([]namedCount{
		{"dropped", "drop", &t.Dropped}, {"evicted", "early_drop", &t.Evicted}, {"collected", "", &t.Collected},
		{"invalid", "invalid", &t.Invalid}, {"insert_failed", "insert_failed", &t.InsertFailed},
	}, t.Ended.counts()...)
}

func (e *Ended) counts() []namedCount {
	return []namedCount{
		{"timed out", "", &e.TimedOut}, {"aged", "", &e.Aged}, {"by packet", "", &e.ByPacket},
		{"by netlink", "", &e.ByNetlink}, {"removed", "", &e.Removed}, {"untold", "", &e.Untold},
	}
}

// namedCount is a count with its printed name.
type namedCount struct {
	name string
	stat string // name of the count in Stats; empty if it is not one of them
	n    *uint64
}

// subtract subtracts each count from the one at the same index. A negative difference becomes a huge number rather than
// a zero, which could pass for "nothing was counted".
func subtract(from, counts []namedCount) {
	for i, c := range from {
		*c.n -= *counts[i].n
	}
}

// saturatingSub returns a - b, or 0 if b is larger.
func saturatingSub(a, b uint64) uint64 {
	if a < b {
		return 0
	}
	return a - b
}

// subCounts returns what was counted between before and after, without zeros; nil if after is nil.
func subCounts[K comparable](after, before map[K]uint64) map[K]uint64 {
	if after == nil {
		return nil
	}
	d := map[K]uint64{}
	for k, n := range after {
		if n = saturatingSub(n, before[k]); n > 0 {
			d[k] = n
		}
	}
	return d
}

// subList returns the counts of a list between before and after; nil if after is nil. key returns a value without its
// counts; sub subtracts those of an earlier value and reports whether to keep the result.
func subList[T any, K comparable](after, before []T, key func(T) K, sub func(*T, T) bool) []T {
	if after == nil {
		return nil
	}
	earlier := make(map[K]T, len(before))
	for _, v := range before {
		earlier[key(v)] = v
	}
	d := []T{}
	for _, v := range after {
		if sub(&v, earlier[key(v)]) {
			d = append(d, v)
		}
	}
	return d
}

// Law has what the laws of Tally.Check relate to its counts. The zero Law makes no law applicable.
type Law struct {
	Known  bool // the probes before and after conntrack were counted: Before, Behind and Output are valid
	Silent bool // the host itself sends nothing that conntrack sees
	Free   int  // entries that fit into the table at the start; -1: as many as the kernel allows
	// Room is the number of entries that fit beside an assured filler when the Observer was opened, and Buckets the size
	// of the kernel's hash table. By these the odds of an eviction are known (see Diff). Zero: there is no such filler.
	Room, Buckets int
	// Unreplied says that the kernel may also evict and collect entries of the filler.
	Unreplied bool
	// Before and Behind count packets at conntrack/prerouting and mangle/prerouting, Output those at
	// conntrack/output, IPv4 and IPv6 together.
	Before, Behind, Output uint64
	// BehindConntrack names the probes of Tally.Packets that do not see packets which conntrack dropped in
	// prerouting.
	BehindConntrack []string
	// Reading identifies the Tally, so that Sub recognizes two in the wrong order.
	Reading Reading
	// Acted says how often something was sent, dialled or run that may have changed a count. Diff of a Tally without
	// any such act is never empty, unless AnyAct is set: nothing could have been counted.
	Acted  uint64
	AnyAct bool // acts are not known, or that there were none is meant
	// Slip is why the Tally is no result of Sub; empty if it is one.
	Slip string
}

// Reading identifies what an Observer has returned: which Observer, and the how manieth reading it was. The zero Reading is
// that of a value that was not read.
type Reading struct {
	Observer uint64 // a number of the Observer in this process, from 1
	Number   uint64 // of the reading, from 1
}

// slip returns what is wrong with subtracting before from r; "" if nothing is.
func (r Reading) slip(before Reading) string {
	switch {
	case r == (Reading{}) || before == (Reading{}):
		return ""
	case r.Observer != before.Observer:
		return "Sub of the readings of two Observers: their counts begin at different times"
	case r.Number < before.Number:
		return fmt.Sprintf("Sub in the wrong order: reading %d was subtracted from reading %d; want later.Sub(earlier)", before.Number, r.Number)
	}
	return ""
}

func (l Law) sub(before Tally) Law {
	if l.Slip == "" {
		l.Slip = cmp.Or(before.Law.Slip, l.Reading.slip(before.Law.Reading))
	}
	l.Acted -= before.Law.Acted
	l.Before = saturatingSub(l.Before, before.Law.Before)
	l.Behind = saturatingSub(l.Behind, before.Law.Behind)
	l.Output = saturatingSub(l.Output, before.Law.Output)
	if l.Free >= 0 {
		l.Free = max(0, l.Free-before.Entries)
	}
	return l
}

// lawProbes are the standard probes that Law counts.
var lawProbes = struct{ before, behind, output nf.Probe }{nf.ConntrackPrerouting, nf.ManglePrerouting, nf.ConntrackOutput}

// Check tests the counts against the laws of a table with limited room for new flows. The laws hold if each flow is
// sent once to a silent host and the rest of the table is assured and long-lived. With before and behind as the
// packets at conntrack/prerouting and mangle/prerouting:
//
//	before = behind + dropped
//	min(before, free) ≤ behind ≤ min(before, free + evicted + collected)
//	entries ≤ min(before, free)
//
// The error names the broken law with its numbers. If a precondition does not hold, the error says which and wraps
// ErrLawNotApplicable: the path is not counted, the host is not silent or sent something anyway, the room is not
// known, packets were invalid or lost their entry at the confirmation, or not every packet that passed conntrack
// created its own entry (it was repeated, untracked or dropped by a rule).
//
// The first law only needs the path and a host that sent nothing. If it is broken, Check says so even if other
// preconditions do not hold.
func (t Tally) Check() error {
	l := t.Law
	if l.Slip != "" {
		return errors.New(l.Slip)
	}
	for _, need := range []struct {
		ok  bool
		why string
	}{
		{l.Known, "the packets on both sides of conntrack were not counted"},
		{l.Output == 0, fmt.Sprintf("conntrack saw %d packets of the host itself", l.Output)},
		{t.InsertFailed == 0, fmt.Sprintf("%d packets lost their entry at the confirmation", t.InsertFailed)},
	} {
		if !need.ok {
			return notApplicable(need.why)
		}
	}
	if l.Before != l.Behind+t.Dropped {
		return broken("before = behind + dropped", "%d ≠ %d + %d", l.Before, l.Behind, t.Dropped)
	}

	inTable := int64(l.Behind) - int64(t.Evicted) - int64(t.Collected) - int64(t.Ended.sum())
	for _, need := range []struct {
		ok  bool
		why string
	}{
		{l.Silent, "the host is not silent"},
		{l.Free >= 0, "the number of free entries is not known"},
		{!l.Unreplied, "the filler itself may be evicted"},
		{t.Invalid == 0, fmt.Sprintf("%d packets were invalid", t.Invalid)},
		{t.Ended == Ended{}, fmt.Sprintf("%d entries ended otherwise than by eviction or collection", t.Ended.sum())},
		{inTable == int64(t.Entries), fmt.Sprintf("%d packets passed conntrack, %d entries were evicted and %d collected, and %d are there: not every packet created its own entry", l.Behind, t.Evicted, t.Collected, t.Entries)},
	} {
		if !need.ok {
			return notApplicable(need.why)
		}
	}
	fit := min(l.Before, uint64(l.Free))
	if l.Behind < fit {
		return broken("min(before, free) ≤ behind", "min(%d, %d) > %d", l.Before, l.Free, l.Behind)
	}
	if l.Behind > min(l.Before, uint64(l.Free)+t.Evicted+t.Collected) {
		return broken("behind ≤ min(before, free + evicted + collected)", "%d > min(%d, %d + %d + %d)",
			l.Behind, l.Before, l.Free, t.Evicted, t.Collected)
	}
	if t.Entries > int(fit) {
		return broken("entries ≤ min(before, free)", "%d > min(%d, %d)", t.Entries, l.Before, l.Free)
	}
	return nil
}

func notApplicable(why string) error { return fmt.Errorf("%w: %s", ErrLawNotApplicable, why) }

func broken(law, numbers string, args ...any) error {
	return fmt.Errorf("law broken: %s: %s", law, fmt.Sprintf(numbers, args...))
}

// Diff returns how t differs from want, in the form of cmp.Diff with -want and +got, or "" if it does not. It compares
// Ended only if want has some.
//
// It allows for chance, where that is proven to be one. At the limit of a table with an assured filler, a new flow may
// evict an entry of the experiment, and the garbage collector may collect some (see Evicted and Collected). If t has
// more of both than want, Diff first shifts the numbers of want accordingly: for each such entry one more packet may
// have passed, so that there is one drop less and one packet more at the probes behind conntrack, and the entry is
// missing from the table. A test can therefore state the plain numbers and does not fail by chance. If a difference
// remains, its first line says how want was shifted.
//
// More evictions than the odds allow are a difference. A packet that finds the table full searches 8 buckets
// (net/netfilter/nf_conntrack_core.c, early_drop), and each un-assured entry is in two; Diff allows for as many as
// happen in all but one of a million repetitions. With an un-replied filler evictions are the rule, not chance, and
// nothing is shifted.
//
// Where the kernel does not tell what removed entries (see Ended.Untold), those collected by chance are not known, and nothing
// is shifted for them.
//
// If nothing was sent, dialled or run (Law.Acted), the Diff is not empty: such a Tally would show the same whatever the
// rules under test do.
func (t Tally) Diff(want Tally) string {
	if t.Law.Slip != "" {
		return t.Law.Slip
	}
	shifted, why := t.shiftByChance(want)
	got := t
	got.Law, shifted.Law = Law{}, Law{}
	if want.Ended == (Ended{}) {
		got.Ended = Ended{}
	}
	diff := gocmp.Diff(shifted, got, cmpopts.EquateEmpty())
	if untold := saturatingSub(t.Ended.Untold, want.Ended.Untold); untold > 0 {
		why = strings.TrimPrefix(fmt.Sprintf("%s\nthis kernel does not tell what removed %d entries; the collector of a full table may have taken some by chance", why, untold), "\n")
	}
	switch {
	case diff == "" && t.Law.Acted == 0 && !t.Law.AnyAct && t.Law.Reading != (Reading{}):
		return "vacuous: " + ErrVacuous.Error()
	case diff == "" || why == "":
		return diff
	}
	return why + "\n" + diff
}

// shiftByChance returns want shifted by the entries that t lost by chance, and a description of the shift, or of why
// nothing was shifted although entries were lost; "" if there is none.
func (t Tally) shiftByChance(want Tally) (Tally, string) {
	evicted, collected := saturatingSub(t.Evicted, want.Evicted), saturatingSub(t.Collected, want.Collected)
	surplus := saturatingSub(t.Evicted+t.Collected, want.Evicted+want.Collected)
	switch most := t.Law.mostEvictions(t.Dropped + t.Evicted); {
	case surplus == 0:
		return want, ""
	case t.Law.Unreplied:
		return want, fmt.Sprintf("not shifted: with an un-replied filler evictions are the rule, not chance (evicted %d, collected %d): state them", t.Evicted, t.Collected)
	case evicted > 0 && t.Law.Room == 0:
		return want, fmt.Sprintf("not shifted: without an assured filler the odds of %d evictions are not known: state them", t.Evicted)
	case evicted > uint64(most):
		return want, fmt.Sprintf("not shifted: %d more entries than wanted were evicted, but chance explains at most %d (of %d packets that found the table full, by %d entries in %d buckets, but once in a million)",
			evicted, most, t.Dropped+t.Evicted, t.Law.Room, t.Law.Buckets)
	}
	through := min(saturatingSub(want.Dropped, t.Dropped), surplus)

	shifted := want
	shifted.Evicted, shifted.Collected = want.Evicted+evicted, want.Collected+collected
	shifted.Dropped -= through
	shifted.Entries += int(through) - int(surplus)
	shifted.Packets = maps.Clone(want.Packets)
	var probes []string
	for _, name := range t.Law.BehindConntrack {
		// Which way the packet took after conntrack, and whether the probe matches it, is not known.
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

// mostEvictions returns how many evictions chance explains if that many packets found the table full: with more, an
// experiment would fail once in a million repetitions. A search takes at most all of the entries that it comes across.
func (l Law) mostEvictions(tries uint64) int {
	if l.Room <= 0 || l.Buckets <= 0 {
		return 0
	}
	return odds.AtMost(float64(tries)*odds.Evictable(l.Room, l.Buckets), 1e-6)
}
