package nf

import "strings"

// CTState is a set of the classes that "ct state" of nft and "--ctstate" of iptables tell apart, numbered as nft does
// (include/net/netfilter/nf_conntrack.h, NF_CT_STATE_BIT). It belongs to a packet, while Status belongs to an entry.
type CTState uint32

// The classes.
const (
	StateInvalid     CTState = 1 << 0
	StateEstablished CTState = 1 << 1
	StateRelated     CTState = 1 << 2
	StateNew         CTState = 1 << 3
	StateUntracked   CTState = 1 << 6
)

// String returns the classes as nft writes them: "established,related".
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
