package observe

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Tally is what was counted since the Observer was opened, or between two Tallies (see Sub).
type Tally struct {
	// Packets has the count of each probe that was asked for, by its name, and no others.
	Packets map[string]uint64
	// Entries is how many more entries the table has than at the start; the filler is not counted. As a difference it
	// may be negative.
	Entries int
	// Dropped counts packets that conntrack dropped, nearly always because the table was full: the host's own as well
	// ("drop" of the kernel's statistics; some of InsertFailed are among them).
	Dropped uint64
	// Evicted counts entries that early_drop threw out of a full table to make room for a new flow ("early_drop").
	Evicted uint64
	// Collected counts entries that left unasked otherwise: their time was over, or the garbage collector of a nearly
	// full table took them before. Those that a packet ended (RST, a SYN that reuses a closed connection) and those
	// that were deleted by netlink are not among them; those that the kernel drops with an interface or a module are.
	Collected uint64
	// Invalid counts packets that the trackers found invalid ("invalid"). ICMP errors have a count of their own.
	Invalid uint64
	// InsertFailed counts packets that could not have their entry at the confirmation ("insert_failed").
	InsertFailed uint64

	// Law has what Check and Diff need beside the counts. Diff does not compare it.
	Law Law
}

// Sub returns what was counted between before and t, which is the later Tally of the same Observer.
func (t Tally) Sub(before Tally) Tally {
	d := t
	d.Packets = make(map[string]uint64, len(t.Packets))
	for name, n := range t.Packets {
		d.Packets[name] = saturatingSub(n, before.Packets[name])
	}
	d.Entries -= before.Entries
	subtract(d.counts(), before.counts())
	d.Law = t.Law.sub(before)
	return d
}

// String prints the counts in one line, the probes in the order in which packets meet them, and of the rest what is
// not zero: "raw/prerouting 10, mangle/prerouting 7, entries 7, dropped 3".
func (t Tally) String() string {
	var s []string
	for name, n := range t.All() {
		if _, probe := t.Packets[name]; probe || name == "entries" || n != 0 {
			s = append(s, fmt.Sprintf("%s %d", name, n))
		}
	}
	return strings.Join(s, ", ")
}

// counts returns the counts beside packets and entries by their names: the one list of them.
func (t *Tally) counts() []namedCount {
	return []namedCount{
		{"dropped", &t.Dropped}, {"evicted", &t.Evicted}, {"collected", &t.Collected},
		{"invalid", &t.Invalid}, {"insert_failed", &t.InsertFailed},
	}
}

// All yields all counts by their names: the probes in the order in which packets meet them, "entries", and the others.
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

// namedCount is a count with the name that it is printed by.
type namedCount struct {
	name string
	n    *uint64
}

// subtract subtracts counts from those of the same names.
func subtract(from, counts []namedCount) {
	for i, c := range from {
		*c.n = saturatingSub(*c.n, *counts[i].n)
	}
}

// Names returns the names of the probes, the standard ones in the order in which packets meet them.
func (t Tally) Names() []string { return inPathOrder(t.Packets) }

// inPathOrder returns the names of the standard probes in the order of the path, IPv4 before IPv6, then the others in
// the order of the alphabet.
func inPathOrder(packets map[string]uint64) []string {
	var names []string
	for _, f := range []nf.Family{nf.IPv4, nf.IPv6} {
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
