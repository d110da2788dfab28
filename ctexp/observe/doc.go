// Package observe says what happened to packets in a network namespace: how many passed which probe and where they
// were lost (Tally, Path), what the conntrack table holds (Flows, Get, Count, Expectations) and what conntrack counted
// (Stats), what the user's rules counted (Rules) and what went over the wire (Frames).
//
// An Observer counts from the moment it was opened. It asks the kernel by netlink and changes nothing: probes,
// switches and sysctls are the business of whoever made the namespace and says in a Config what is there.
//
//	o, err := observe.Open(ctx, ns, observe.Config{Probes: []nf.Probe{nf.RawPrerouting, nf.ManglePrerouting}})
//	if err != nil {
//		return err
//	}
//	defer o.Close()
//	// send packets here
//	got, err := o.Tally(ctx)
//
// What happened to the table, flow by flow, is in Events from the moment of opening on; Life picks one flow's. Follow tells
// it while it happens. Where events were lost they say so, and read the table again.
//
// Why conntrack calls a packet INVALID is in Reasons, which rules a packet met in Trace, where the namespace was made so
// that the kernel tells; ReasonsOf and StepsOf put them beside the frames of their packets. Path gives both as causes.
//
// Why the kernel threw packets away that no rule has dropped, package dropreason tells, where it may; SetDropSource puts it into the
// Path and the Timeline, and DropsOf beside the frames.
//
// What it answers are plain values that can be printed, kept and compared. Two phases of an experiment are told apart
// by Tally.Sub; Tally.Diff compares with what a test wants, up to the two kinds of dice that the kernel throws when the
// table is full (early_drop and the garbage collector); Tally.Check asks whether the numbers obey the laws that bind
// them together.
package observe
