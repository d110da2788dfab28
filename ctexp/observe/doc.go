// Package observe reports what happened to packets in a network namespace. An Observer records from the moment it is
// opened. A Tally has what it counted, a Path how many packets met each probe and where they were lost, and a
// Timeline what happened in order of time.
//
// An Observer reads the kernel's state by netlink and changes nothing. Probes, links and sysctls belong to whoever
// created the namespace; a Config says which of them exist.
//
//	o, err := observe.Open(ctx, ns, observe.Config{Probes: []nf.Probe{nf.RawPrerouting, nf.ManglePrerouting}})
//	if err != nil {
//		return err
//	}
//	defer o.Close()
//	// send packets here
//	got, err := o.Tally(ctx)
//
// Flows, Get, Count and Expectations read the conntrack table, Stats its statistics and Rules the user's rules with
// their counters. Frames are the packets that went over the links.
//
// Events are the changes of the table since Open, and Life selects those of one flow. Follow waits for further
// events. Where events were lost, both say so and read the table again.
//
// Reasons tell why conntrack called packets INVALID, and Trace which rules a packet met, if the namespace was set up
// so that the kernel reports them. ReasonsOf and StepsOf assign them to the frames of their packets; Path has them as
// causes.
//
// Package dropreason tells why the kernel dropped packets that no rule dropped, where it has the privileges.
// Observer.SetDropSource adds that to the Path and the Timeline, and DropsOf assigns it to the frames.
//
// Results are plain values that can be printed, stored and compared. Tally.Sub separates two phases of an experiment.
// Tally.Diff compares a Tally with what a test wants, and allows for the two things that the kernel does at random
// when the table is full: early_drop and garbage collection. Tally.Check tests the numbers against the laws that
// relate them.
package observe
