package nf

import (
	"fmt"
	"strings"
	"time"
)

// Entry is one entry of the conntrack table: a flow as the kernel knows it.
type Entry struct {
	// Orig is the tuple of the packet that made the entry, Reply the tuple that its answers are expected to have.
	// Without NAT, Reply is Orig.Reverse().
	Orig, Reply Tuple
	Status      Status
	State       TCPState      // zero unless the protocol is TCP
	Timeout     time.Duration // whole seconds until the entry is over, as of reading it
	Mark        uint32
	Zone        uint16 // of both directions; a zone of one direction alone is not shown here
	// Packets and Bytes count both directions where net.netfilter.nf_conntrack_acct is 1, else they are zero.
	Packets, Bytes DirCounts
	Labels         string // in hexadecimal, lowest byte first; empty without labels
	Helper         string // "ftp", say; empty without one
	ID             uint32 // the kernel's own number of the entry; zero asks for any
}

// DirCounts is a count for each direction of a flow.
type DirCounts struct{ Orig, Reply uint64 }

// String prints the entry as one line in the words of conntrack -L, without what changes by itself (timeout, counters,
// id), so that lines of two runs can be sorted and compared:
//
//	tcp SYN_SENT src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10000
func (e Entry) String() string {
	var b strings.Builder
	b.WriteString(e.Orig.Proto.String())
	if e.Orig.Proto == TCP {
		fmt.Fprintf(&b, " %v", e.State)
	}
	fmt.Fprintf(&b, " %v", e.Orig)
	if !e.Status.Has(SeenReply) {
		b.WriteString(" [UNREPLIED]")
	}
	fmt.Fprintf(&b, " %v", e.Reply)
	if e.Status.Has(Assured) {
		b.WriteString(" [ASSURED]")
	}
	if e.Mark != 0 {
		fmt.Fprintf(&b, " mark=%d", e.Mark)
	}
	if e.Zone != 0 {
		fmt.Fprintf(&b, " zone=%d", e.Zone)
	}
	if e.Helper != "" {
		fmt.Fprintf(&b, " helper=%s", e.Helper)
	}
	if e.Labels != "" {
		fmt.Fprintf(&b, " labels=%s", e.Labels)
	}
	return b.String()
}

// Filter selects entries. The zero Filter selects all of the experiment's.
type Filter struct {
	Family Family // zero: both
	// Mark selects entries whose mark agrees in the bits of MarkMask; a zero MarkMask asks for none.
	Mark, MarkMask uint32
	// Status selects entries whose status agrees in the bits of StatusMask; a zero StatusMask asks for none.
	Status, StatusMask Status
	// Zone selects entries of one zone, if it is not nil: nf.InZone(0) differs from no zone asked for.
	Zone *uint16
	// Proto and Tuple are compared after reading: the kernel has no filter for them that every version gets right.
	Proto Proto
	Tuple Tuple // an entry whose original or reply tuple is this one; zero: any
}

// InZone returns a value for Filter.Zone.
func InZone(zone uint16) *uint16 { return &zone }

// Match reports whether e is among the entries that f selects.
func (f Filter) Match(e Entry) bool {
	return (f.Family == 0 || f.Family == e.Orig.Family()) &&
		e.Mark&f.MarkMask == f.Mark&f.MarkMask &&
		e.Status&f.StatusMask == f.Status&f.StatusMask &&
		(f.Zone == nil || *f.Zone == e.Zone) &&
		(f.Proto == 0 || f.Proto == e.Orig.Proto) &&
		(f.Tuple == Tuple{} || f.Tuple == e.Orig || f.Tuple == e.Reply)
}
