package nf

import (
	"fmt"
	"strings"
	"time"
)

// Entry is one entry of the conntrack table: a flow as the kernel knows it.
type Entry struct {
	// Orig is the tuple of the packet that made the entry, Reply the tuple that its answers are expected to have.
	// Without NAT, Reply is Orig.Reverse(); what the difference means says the method NAT.
	Orig, Reply Tuple
	Status      Status
	State       TCPState      // zero unless the protocol is TCP
	Timeout     time.Duration // whole seconds until the entry is over, as of reading it
	Mark        uint32
	Zone        uint16
	ZoneDir     Direction // whose tuple is in the Zone, the other one being in zone 0; zero: both
	// Packets and Bytes count both directions where net.netfilter.nf_conntrack_acct is 1, else they are zero.
	Packets, Bytes DirCounts
	Labels         string // in hexadecimal, lowest byte first; empty without labels
	Helper         string // "ftp", say; empty without one
	ID             uint32 // the kernel's own number of the entry; zero asks for any

	// OtherState is the state of an SCTP or DCCP entry by the kernel's name, "COOKIE_WAIT" or "OPEN"; empty for others.
	OtherState string
	// TCP is what else the kernel knows of a TCP flow; zero in DESTROY events and unless the protocol is TCP.
	TCP TCPInfo
	// Start and Stop are when the entry was made and destroyed, where net.netfilter.nf_conntrack_timestamp was 1 when
	// it was made; else zero. Only DESTROY events have a Stop.
	Start, Stop time.Time
	// SeqAdjust says by how much helpers and SYNPROXY have shifted the TCP sequence numbers of each direction.
	SeqAdjust DirSeqShift
	SynProxy  SynProxy // zero unless SYNPROXY has answered the handshake
	Master    Tuple    // the original tuple of the flow that expected this one; zero unless Status has Expected
	SecCtx    string   // the security context, where a module like SELinux marks packets; else empty
}

// DirCounts is a count for each direction of a flow.
type DirCounts struct{ Orig, Reply uint64 }

// String prints the entry as one line in the words of conntrack -L, without what changes by itself (timeout, counters,
// id), so that lines of two runs can be sorted and compared:
//
//	tcp SYN_SENT src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10000
//
// ParseEntry reads it again.
func (e Entry) String() string {
	var b strings.Builder
	b.WriteString(e.Orig.Proto.String())
	switch {
	case e.Orig.Proto == TCP:
		fmt.Fprintf(&b, " %v", e.State)
	case e.OtherState != "":
		fmt.Fprintf(&b, " %s", e.OtherState)
	}
	fmt.Fprintf(&b, " %v", e.Orig)
	if e.Zone != 0 && e.ZoneDir == Original {
		fmt.Fprintf(&b, " zone-orig=%d", e.Zone)
	}
	if !e.Status.Has(SeenReply) {
		b.WriteString(" [UNREPLIED]")
	}
	fmt.Fprintf(&b, " %v", e.Reply)
	if e.Zone != 0 && e.ZoneDir == Reply {
		fmt.Fprintf(&b, " zone-reply=%d", e.Zone)
	}
	for _, bit := range []struct {
		set  Status
		name string
	}{{Assured, "[ASSURED]"}, {Offload, "[OFFLOAD]"}, {HWOffload, "[HW_OFFLOAD]"}} {
		if e.Status.Has(bit.set) {
			fmt.Fprintf(&b, " %s", bit.name)
		}
	}
	if e.Mark != 0 {
		fmt.Fprintf(&b, " mark=%d", e.Mark)
	}
	if e.Zone != 0 && e.ZoneDir == 0 {
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
