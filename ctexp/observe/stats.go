package observe

import (
	"fmt"
	"iter"
	"strings"
)

// Stats are the statistics of conntrack, as conntrack -S shows them, summed over all CPUs: what was counted since the
// Observer was opened, or between two Stats (see Sub). The kernel's counters have 32 bits for each CPU.
type Stats struct {
	// Found counts lookups for NAT that found the wanted tuple in use (net/netfilter/nf_conntrack_core.c,
	// nf_conntrack_tuple_taken).
	Found uint64
	// Invalid counts packets that the trackers found invalid, except those counted in Error.
	Invalid uint64
	// Insert counts entries created by netlink. The kernel does not count those created by packets.
	Insert uint64
	// InsertFailed counts packets whose entry could not be inserted at the confirmation, because another packet was
	// faster.
	InsertFailed uint64
	// Drop counts packets dropped because the table was full or their entry could not be created or confirmed.
	Drop uint64
	// EarlyDrop counts entries removed from a full table to make room for a new flow.
	EarlyDrop uint64
	// Error counts bad ICMP packets: checksum, length, type, and errors about unknown flows.
	Error uint64
	// SearchRestart counts lookups that restarted because the table was resized or entries moved meanwhile.
	SearchRestart uint64
	// ClashResolve counts packets whose entry another packet had created first, and which could use that one.
	ClashResolve uint64
	// ChainTooLong counts packets whose entry was not inserted because its bucket was too long. Kernels before 5.15 do
	// not count that (see NoChainTooLong).
	ChainTooLong uint64
	// ExpectNew counts flows that were expected; ExpectCreate and ExpectDelete count created and deleted
	// expectations.
	ExpectNew, ExpectCreate, ExpectDelete uint64
	// NoChainTooLong says that the kernel does not report ChainTooLong, as before 5.15. Then All and String leave it out.
	NoChainTooLong bool
}

// counts lists the counts by their names in conntrack -S and in /proc/net/stat/nf_conntrack, in the order of both.
func (s *Stats) counts() []namedCount {
	return []namedCount{
		{"found", "found", &s.Found}, {"invalid", "invalid", &s.Invalid}, {"insert", "insert", &s.Insert}, {"insert_failed", "insert_failed", &s.InsertFailed},
		{"drop", "drop", &s.Drop}, {"early_drop", "early_drop", &s.EarlyDrop}, {"error", "error", &s.Error}, {"search_restart", "search_restart", &s.SearchRestart},
		{"clash_resolve", "clash_resolve", &s.ClashResolve}, {"chaintoolong", "chaintoolong", &s.ChainTooLong},
		{"expect_new", "expect_new", &s.ExpectNew}, {"expect_create", "expect_create", &s.ExpectCreate}, {"expect_delete", "expect_delete", &s.ExpectDelete},
	}
}

// statChainTooLong is CTA_STATS_CHAIN_TOOLONG, which kernels before 5.15 lack (net/netfilter/nf_conntrack_netlink.c,
// ctnetlink_ct_stat_cpu_fill_info).
const statChainTooLong = 15

// statOf returns the counts indexed by attribute (include/uapi/linux/netfilter/nfnetlink_conntrack.h, enum
// ctattr_stats_cpu). Linux stopped counting those that are nil before 5.10.
func (s *Stats) statOf() []*uint64 {
	return []*uint64{
		2: &s.Found, 4: &s.Invalid, 8: &s.Insert, 9: &s.InsertFailed, 10: &s.Drop, 11: &s.EarlyDrop, 12: &s.Error,
		13: &s.SearchRestart, 14: &s.ClashResolve, statChainTooLong: &s.ChainTooLong,
	}
}

// expectStatOf does the same for enum ctattr_expect_stats.
func (s *Stats) expectStatOf() []*uint64 {
	return []*uint64{1: &s.ExpectNew, 2: &s.ExpectCreate, 3: &s.ExpectDelete}
}

// Sub returns what was counted between before and s, two Stats of the same Observer. If before was read after s, counts
// are as large as a negative number is when it is read as an unsigned one.
func (s Stats) Sub(before Stats) Stats {
	subtract(s.counts(), before.counts())
	return s
}

// All yields the counts that the kernel reports by name, in the order of conntrack -S.
func (s Stats) All() iter.Seq2[string, uint64] {
	return func(yield func(string, uint64) bool) {
		for _, c := range s.counts() {
			if c.n == &s.ChainTooLong && s.NoChainTooLong {
				continue
			}
			if !yield(c.name, *c.n) {
				return
			}
		}
	}
}

// String prints the counts that the kernel reports on one line, as conntrack -S does for each CPU: "found=0 invalid=1 insert=0 …".
func (s Stats) String() string {
	var b strings.Builder
	for name, n := range s.All() {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%s=%d", name, n)
	}
	return b.String()
}
