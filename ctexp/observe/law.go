package observe

import (
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Law is what the laws of a Tally speak of beside its counts.
type Law struct {
	Known  bool // the probes on both sides of conntrack were counted: Before, Behind and Output are so
	Silent bool // the host itself sends nothing that conntrack sees
	Free   int  // entries that fitted into the table at the start; -1: as many as the kernel gives
	// Unreplied says that the entries of the filler are evicted and collected, too.
	Unreplied bool
	// Before and Behind count packets at conntrack/prerouting and mangle/prerouting, Output those at conntrack/output,
	// IPv4 and IPv6 together.
	Before, Behind, Output uint64
	// BehindConntrack names those of Tally.Packets that lack what conntrack dropped in prerouting.
	BehindConntrack []string
}

func (l Law) sub(before Tally) Law {
	l.Before = saturatingSub(l.Before, before.Law.Before)
	l.Behind = saturatingSub(l.Behind, before.Law.Behind)
	l.Output = saturatingSub(l.Output, before.Law.Output)
	if l.Free >= 0 {
		l.Free = max(0, l.Free-before.Entries)
	}
	return l
}

// Check reports whether the counts obey the laws of a table of limited room for new flows, each of which is sent once,
// to a silent host, the rest of the table being assured and long-lived. With before and behind the packets at
// conntrack/prerouting and mangle/prerouting:
//
//	before = behind + dropped
//	min(before, free) ≤ behind ≤ min(before, free + evicted + collected)
//	entries ≤ min(before, free)
//
// The error says which law is broken, with its numbers. Where something that the laws presuppose is not so it says
// what, and errors.Is(err, ErrLawNotApplicable) holds: the path is not counted, the host is not silent or sent
// something all the same, the room is not known, packets were invalid or lost their entry at the confirmation, or not
// every packet behind conntrack has made an entry of its own (it was repeated, untracked or dropped by a rule).
//
// The first law needs only the path and a host that sent nothing; if it is broken, Check says so whatever else lacks.
func (t Tally) Check() error {
	l := t.Law
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

	inTable := int64(l.Behind) - int64(t.Evicted) - int64(t.Collected)
	for _, need := range []struct {
		ok  bool
		why string
	}{
		{l.Silent, "the host is not silent"},
		{l.Free >= 0, "nobody said how many entries were free"},
		{!l.Unreplied, "the filler itself may be evicted"},
		{t.Invalid == 0, fmt.Sprintf("%d packets were invalid", t.Invalid)},
		{inTable == int64(t.Entries), fmt.Sprintf("%d packets passed conntrack, %d entries were evicted and %d collected, and %d are there: not every packet made an entry of its own", l.Behind, t.Evicted, t.Collected, t.Entries)},
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

// lawProbes are the standard probes that Law counts by.
var lawProbes = struct{ before, behind, output nf.Probe }{nf.ConntrackPrerouting, nf.ManglePrerouting, nf.ConntrackOutput}
