package nf

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
)

// Probe counts packets at a hook and a priority. It is a base chain that accepts all packets.
type Probe struct {
	// Name is the key of the count, unique in an experiment; empty: DefaultName.
	Name     string
	Hook     Hook   // the hook of the chain
	Priority int32  // as in nft, lower runs first: -300 raw, -200 conntrack, -150 mangle, -100 dstnat, 0 filter, 100 srcnat
	Family   Family // zero: IPv4 and IPv6 together
	Match    Match  // counts only packets that match; zero: all
	// State counts only packets in one of these states. Like any "ct state" rule it enables conntrack.
	State CTState
	// Status counts only packets whose entry has all of these bits.
	Status Status
	// Mark counts only packets whose entry's mark is equal in the bits of MarkMask; zero MarkMask: any mark.
	Mark, MarkMask uint32
	// Dir counts only packets of one direction of their flow; zero: both.
	Dir Direction
}

// AsksConntrack reports whether the probe reads the packet's entry, which like any "ct" rule enables conntrack.
func (p Probe) AsksConntrack() bool {
	return p.State != 0 || p.Status != 0 || p.MarkMask != 0 || p.Dir != 0
}

// Check returns what is wrong with p, nil if nothing is: that it can count no packet, whatever happens, because it matches links
// that are not known in its hook, addresses of another family, or an entry where packets have none yet; or a mark without a mask.
// Packets of lo keep the entry that they got in output, so that Match.In may be "lo" in prerouting before conntrack.
func (p Probe) Check() error {
	if err := p.Match.Check(); err != nil {
		return err
	}
	if err := checkMark(p.Mark, p.MarkMask); err != nil {
		return err
	}
	if is := familyOf[p.Match.Proto]; is != 0 {
		for _, a := range []netip.Prefix{p.Match.Src, p.Match.Dst} {
			if a.IsValid() && FamilyOf(a.Addr()) != is {
				return fmt.Errorf("no packet of %v has the address %v", p.Match.Proto, a)
			}
		}
		if p.Family != 0 && p.Family != is {
			return fmt.Errorf("no packet of %v is of %v", p.Match.Proto, p.Family)
		}
	}
	for _, a := range []netip.Prefix{p.Match.Src, p.Match.Dst} {
		if a.IsValid() && p.Family != 0 && FamilyOf(a.Addr()) != p.Family {
			return fmt.Errorf("no packet of %v has the address %v", p.Family, a)
		}
	}
	switch {
	case p.State != 0 && p.State&^(StateInvalid|StateUntracked) == 0 && (p.Status != 0 || p.MarkMask != 0 || p.Dir != 0):
		return fmt.Errorf("no packet that is %v has an entry, of which Status, Mark and Dir are", p.State)
	case p.Match.In != "" && p.Hook == Output:
		return fmt.Errorf("a packet of the host itself does not come in on %q", p.Match.In)
	case p.Match.Out != "" && (p.Hook == Prerouting || p.Hook == Input):
		return fmt.Errorf("no packet is known to leave on %q in %v", p.Match.Out, p.Hook)
	case p.Hook == Prerouting && p.Priority < PriorityConntrack && p.AsksConntrack() && p.State&StateUntracked == 0 && p.Match.In == "":
		return fmt.Errorf(`no packet has an entry in prerouting before conntrack (priority %d), except on lo: set Match.In to "lo" if that is meant`, PriorityConntrack)
	}
	return nil
}

// checkMark returns an error for a mark of which no bit is compared.
func checkMark(mark, mask uint32) error {
	if mark != 0 && mark&mask == 0 {
		return fmt.Errorf("the mark %#x is not compared with: MarkMask is %#x", mark, mask)
	}
	return nil
}

// familyOf has the family of protocols that belong to one.
var familyOf = map[Proto]Family{ICMP: IPv4, ICMPv6: IPv6}

// The priorities of the stages of a hook (include/uapi/linux/netfilter_ipv4.h, enum nf_ip_hook_priorities).
const (
	PriorityFirst     int32 = -1 << 31
	PriorityDefrag    int32 = -400
	PriorityRaw       int32 = -300
	PriorityConntrack int32 = -200
	PriorityMangle    int32 = -150
	PriorityDNAT      int32 = -100
	PriorityFilter    int32 = 0
	PrioritySecurity  int32 = 50
	PrioritySNAT      int32 = 100
	PriorityConfirm   int32 = 1<<31 - 1
)

// DefaultName returns the name of p if Name is empty: the hook and the priority, such as "prerouting@-200", with the
// prefix "ip/" or "ip6/" if only one family is counted.
func (p Probe) DefaultName() string {
	prefix := p.Family.probePrefix()
	switch p.Family {
	case 0:
		prefix = ""
	case IPv4:
		prefix = "ip/"
	}
	return fmt.Sprintf("%s%v@%d", prefix, p.Hook, p.Priority)
}

// The standard probes. Each is named for the stage that follows it: raw/prerouting counts the packets that reach the
// raw table of prerouting. Packets counted by one probe but not by the next were dropped, or took another path, between
// the two.
//
// The first of each hook stands before the rules of all priorities but the very first, so that rules before those of the tables
// that iptables has cannot drop packets unseen.
//
// They count IPv4 packets. Probe.IPv6 returns the same probe for IPv6.
var (
	DefragPrerouting    = standard("defrag", Prerouting, priorityOfHook)
	RawPrerouting       = standard("raw", Prerouting, PriorityRaw-1)
	ConntrackPrerouting = standard("conntrack", Prerouting, PriorityConntrack-1)
	// ManglePrerouting is directly behind conntrack (-199), so that exactly the packets that conntrack drops, as with a
	// full table, are missing here.
	ManglePrerouting = standard("mangle", Prerouting, PriorityConntrack+1)
	NATPrerouting    = standard("nat", Prerouting, PriorityDNAT-1)
	FilterPrerouting = standard("filter", Prerouting, PriorityFilter-1)
	EndPrerouting    = standard("end", Prerouting, PriorityConfirm)

	MangleInput   = standard("mangle", Input, priorityOfHook)
	FilterInput   = standard("filter", Input, PriorityFilter-1)
	SecurityInput = standard("security", Input, PrioritySecurity-1)
	NATInput      = standard("nat", Input, PrioritySNAT-1)
	ConfirmInput  = standard("confirm", Input, PriorityConfirm)
	// ConfirmedInput is behind the confirmation and counts packets whose entry is in the table.
	ConfirmedInput = confirmed(Input)

	MangleForward   = standard("mangle", Forward, priorityOfHook)
	FilterForward   = standard("filter", Forward, PriorityFilter-1)
	SecurityForward = standard("security", Forward, PrioritySecurity-1)
	EndForward      = standard("end", Forward, PriorityConfirm)

	RawOutput       = standard("raw", Output, priorityOfHook)
	ConntrackOutput = standard("conntrack", Output, PriorityConntrack-1)
	MangleOutput    = standard("mangle", Output, PriorityConntrack+1)
	NATOutput       = standard("nat", Output, PriorityDNAT-1)
	FilterOutput    = standard("filter", Output, PriorityFilter-1)
	SecurityOutput  = standard("security", Output, PrioritySecurity-1)
	EndOutput       = standard("end", Output, PriorityConfirm)

	ManglePostrouting    = standard("mangle", Postrouting, priorityOfHook)
	NATPostrouting       = standard("nat", Postrouting, PrioritySNAT-1)
	ConfirmPostrouting   = standard("confirm", Postrouting, PriorityConfirm)
	ConfirmedPostrouting = confirmed(Postrouting)
)

// priorityOfHook is that of the first standard probe of a hook. At the very first priority bridges send packets back that they have
// seen already (net/bridge/br_netfilter_hooks.c, ip_sabotage_in).
const priorityOfHook = PriorityFirst + 1

// Silenced is the name of the count of packets that a silent host would have sent. These are packets of its own without
// a socket of the experiment; they are dropped at the first priority of output.
const Silenced = "silenced/output"

func standard(stage string, h Hook, priority int32) Probe {
	return Probe{Name: stage + "/" + h.String(), Hook: h, Priority: priority, Family: IPv4}
}

func confirmed(h Hook) Probe {
	p := standard("confirmed", h, PriorityConfirm)
	p.Status = Confirmed
	return p
}

// Of returns p, a probe of IPv4 packets, for packets of another family. The name gets a prefix: "ip6/".
func (p Probe) Of(f Family) Probe {
	if p.Name != "" {
		p.Name = f.probePrefix() + p.Name
	}
	p.Family = f
	return p
}

// Stage returns the part of a standard probe's name between the family and the hook: "raw" of "ip6/raw/prerouting".
func (p Probe) Stage() string {
	name := p.Name
	for _, f := range Families() {
		name = strings.TrimPrefix(name, f.probePrefix())
	}
	stage, _, _ := strings.Cut(name, "/")
	return stage
}

// PathProbes returns the standard probes of a family, ordered by hook (prerouting, input, forward, output, postrouting)
// and priority.
func PathProbes(f Family) []Probe {
	all := []Probe{
		DefragPrerouting, RawPrerouting, ConntrackPrerouting, ManglePrerouting, NATPrerouting, FilterPrerouting, EndPrerouting,
		MangleInput, FilterInput, SecurityInput, NATInput, ConfirmInput, ConfirmedInput,
		MangleForward, FilterForward, SecurityForward, EndForward,
		RawOutput, ConntrackOutput, MangleOutput, NATOutput, FilterOutput, SecurityOutput, EndOutput,
		ManglePostrouting, NATPostrouting, ConfirmPostrouting, ConfirmedPostrouting,
	}
	for i, p := range all {
		all[i] = p.Of(f)
	}
	return all
}

// BehindConntrack reports whether p does not count packets that conntrack dropped in prerouting, as it does if the
// table is full.
func (p Probe) BehindConntrack() bool {
	return p.Hook != Output && (p.Hook != Prerouting || p.Priority > PriorityConntrack)
}

// BehindConfirm reports whether p is behind the confirmation, which has the last possible priority. The chain of p must
// be older than the confirm hook, because of hooks with equal priority the older runs last (net/netfilter/core.c,
// nf_hook_entries_grow).
func (p Probe) BehindConfirm() bool {
	return p.Priority == math.MaxInt32 && p.Status.Has(Confirmed) && (p.Hook == Input || p.Hook == Postrouting)
}

// CTState is a set of packet states as matched by nft's "ct state" and iptables' "--ctstate", with the bits of nft
// (include/net/netfilter/nf_conntrack.h, NF_CT_STATE_BIT). A CTState belongs to a packet, a Status to an entry.
type CTState uint32

// The states.
const (
	StateInvalid     CTState = 1 << 0
	StateEstablished CTState = 1 << 1
	StateRelated     CTState = 1 << 2
	StateNew         CTState = 1 << 3
	StateUntracked   CTState = 1 << 6
)

// String returns the states as nft writes them: "established,related".
func (s CTState) String() string {
	var names []string
	for _, c := range []struct {
		bit  CTState
		name string
	}{
		{StateInvalid, "invalid"}, {StateEstablished, "established"}, {StateRelated, "related"},
		{StateNew, "new"}, {StateUntracked, "untracked"},
	} {
		if s&c.bit != 0 {
			names = append(names, c.name)
		}
	}
	return strings.Join(names, ",")
}
