package nf

import "fmt"

// Probe is a place where packets are counted: a base chain at a hook and a priority, before the rules of higher
// priority and behind those of lower. It counts and lets everything pass.
type Probe struct {
	// Name is the key of the count: unique in an experiment. Empty means what DefaultName gives.
	Name     string
	Hook     Hook
	Priority int32  // as in nft: -300 raw, -200 conntrack, -150 mangle, -100 dstnat, 0 filter, 100 srcnat, ±2147483647 the ends
	Family   Family // zero: IPv4 and IPv6 are counted together
	Match    Match  // zero: every packet
	// State counts only packets of these classes. Like any "ct state" rule it switches conntrack on.
	State CTState
	// Status counts only packets whose entry has all of these bits.
	Status Status
	// Mark counts only packets whose entry's mark agrees in the bits of MarkMask; a zero MarkMask asks for none.
	Mark, MarkMask uint32
	// Dir counts only packets of one direction of their flow; zero: both.
	Dir Direction
}

// AsksConntrack reports whether the probe looks at the packet's entry, which like any "ct" rule switches conntrack on.
func (p Probe) AsksConntrack() bool {
	return p.State != 0 || p.Status != 0 || p.MarkMask != 0 || p.Dir != 0
}

// The priorities of the stages that rules live in (include/uapi/linux/netfilter_ipv4.h, enum nf_ip_hook_priorities).
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

// DefaultName returns the name that p gets if it has none: the hook and the priority, such as "prerouting@-200",
// preceded by "ip/" or "ip6/" where only one family is counted.
func (p Probe) DefaultName() string {
	prefix := ""
	switch p.Family {
	case IPv4:
		prefix = "ip/"
	case IPv6:
		prefix = "ip6/"
	}
	return fmt.Sprintf("%s%v@%d", prefix, p.Hook, p.Priority)
}
