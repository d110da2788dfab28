package nf

import "math"

// The standard probes, each named for the stage that a packet meets next: raw/prerouting counts what arrives at the
// raw table of prerouting. Packets that are in the one and not in the next were lost, or left, between the two.
//
// They count IPv4; Probe.IPv6 gives the twin for IPv6.
var (
	DefragPrerouting    = standard("defrag", Prerouting, PriorityDefrag-1)
	RawPrerouting       = standard("raw", Prerouting, PriorityRaw-1)
	ConntrackPrerouting = standard("conntrack", Prerouting, PriorityConntrack-1)
	// ManglePrerouting stands right behind conntrack (-199), so that what a full table drops lacks here and nothing else.
	ManglePrerouting = standard("mangle", Prerouting, PriorityConntrack+1)
	NATPrerouting    = standard("nat", Prerouting, PriorityDNAT-1)
	FilterPrerouting = standard("filter", Prerouting, PriorityFilter-1)
	EndPrerouting    = standard("end", Prerouting, PriorityConfirm)

	MangleInput   = standard("mangle", Input, PriorityMangle-1)
	FilterInput   = standard("filter", Input, PriorityFilter-1)
	SecurityInput = standard("security", Input, PrioritySecurity-1)
	NATInput      = standard("nat", Input, PrioritySNAT-1)
	ConfirmInput  = standard("confirm", Input, PriorityConfirm)
	// ConfirmedInput stands behind the confirmation and counts packets whose entry is in the table then.
	ConfirmedInput = confirmed(Input)

	MangleForward   = standard("mangle", Forward, PriorityMangle-1)
	FilterForward   = standard("filter", Forward, PriorityFilter-1)
	SecurityForward = standard("security", Forward, PrioritySecurity-1)
	EndForward      = standard("end", Forward, PriorityConfirm)

	RawOutput       = standard("raw", Output, PriorityRaw-1)
	ConntrackOutput = standard("conntrack", Output, PriorityConntrack-1)
	MangleOutput    = standard("mangle", Output, PriorityConntrack+1)
	NATOutput       = standard("nat", Output, PriorityDNAT-1)
	FilterOutput    = standard("filter", Output, PriorityFilter-1)
	SecurityOutput  = standard("security", Output, PrioritySecurity-1)
	EndOutput       = standard("end", Output, PriorityConfirm)

	ManglePostrouting    = standard("mangle", Postrouting, PriorityMangle-1)
	NATPostrouting       = standard("nat", Postrouting, PrioritySNAT-1)
	ConfirmPostrouting   = standard("confirm", Postrouting, PriorityConfirm)
	ConfirmedPostrouting = confirmed(Postrouting)
)

// Silenced is the name of the count of what a silent host would have sent: packets of its own without a socket of
// the experiment, dropped at the very front of output.
const Silenced = "silenced/output"

func standard(stage string, h Hook, priority int32) Probe {
	return Probe{Name: stage + "/" + h.String(), Hook: h, Priority: priority, Family: IPv4}
}

func confirmed(h Hook) Probe {
	p := standard("confirmed", h, PriorityConfirm)
	p.Status = Confirmed
	return p
}

// IPv6 returns p for IPv6 packets instead of IPv4 ones, its name preceded by "ip6/".
func (p Probe) IPv6() Probe {
	if p.Name != "" {
		p.Name = "ip6/" + p.Name
	}
	p.Family = IPv6
	return p
}

// PathProbes returns the standard probes of a family in the order in which packets meet them: prerouting, input,
// forward, output, postrouting.
func PathProbes(f Family) []Probe {
	all := []Probe{
		DefragPrerouting, RawPrerouting, ConntrackPrerouting, ManglePrerouting, NATPrerouting, FilterPrerouting, EndPrerouting,
		MangleInput, FilterInput, SecurityInput, NATInput, ConfirmInput, ConfirmedInput,
		MangleForward, FilterForward, SecurityForward, EndForward,
		RawOutput, ConntrackOutput, MangleOutput, NATOutput, FilterOutput, SecurityOutput, EndOutput,
		ManglePostrouting, NATPostrouting, ConfirmPostrouting, ConfirmedPostrouting,
	}
	if f == IPv6 {
		for i, p := range all {
			all[i] = p.IPv6()
		}
	}
	return all
}

// BehindConntrack reports whether a packet that conntrack dropped in prerouting, because the table was full, is
// missing at p.
func (p Probe) BehindConntrack() bool {
	return p.Hook != Output && (p.Hook != Prerouting || p.Priority > PriorityConntrack)
}

// BehindConfirm reports whether p stands behind the confirmation, which has the last priority there is: its chain
// must be older than the confirm hook, since of equals the older runs last (net/netfilter/core.c, nf_hook_entries_grow).
func (p Probe) BehindConfirm() bool {
	return p.Priority == math.MaxInt32 && p.Status.Has(Confirmed) && (p.Hook == Input || p.Hook == Postrouting)
}
