package netnsenv

import "errors"

// Room is how many entries the conntrack table still takes. The zero Room is a table as the kernel gives it.
type Room struct {
	set, unreplied bool
	free           int
}

// Free leaves room for exactly n entries, none at all included: everything else is filled with assured, established
// entries that last, so that the kernel's limit is met by the next entry after n. The limit itself stays as it is,
// and so no privilege is needed and no other namespace notices: the kernel compares it with a count per namespace
// (net/netfilter/nf_conntrack_core.c, __nf_conntrack_alloc).
//
// Filling takes time and memory in proportion to the limit: about 0.6 s and 75 MB for the usual 262,144.
func Free(n int) Room { return Room{set: true, free: n} }

// Unreplied fills with entries that were never answered instead, as a SYN flood does: the kernel evicts those in
// favour of new flows (early_drop), so the table is full without being closed.
func (r Room) Unreplied() Room {
	r.unreplied = true
	return r
}

// ErrNotFull says that some of the filler was gone already when the table had been filled. The garbage collector takes
// entries that were never answered, up to a minute after a full table anywhere on the host has dropped a new flow; to open
// the Env again mostly helps.
var ErrNotFull = errors.New("entries are gone already")

// fillBudget bounds the filler: some five seconds and 600 MB.
const fillBudget = 1 << 21

// RoomInfo says what a Room came to.
type RoomInfo struct {
	Limit     int  // net.netfilter.nf_conntrack_max when the Env was opened; 0 where the kernel has none
	Filler    int  // entries of the filler
	Free      int  // entries that were left free; -1 if no room was asked for
	Unreplied bool // the filler may be evicted
}
