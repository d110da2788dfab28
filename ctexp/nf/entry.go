package nf

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
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

// Brief prints how an entry is, without saying which: the state of TCP, or the protocol, and [UNREPLIED] or [ASSURED] as
// conntrack -L does: "SYN_SENT [UNREPLIED]", "SYN_RECV", "ESTABLISHED [ASSURED]", "udp [UNREPLIED]".
func (e Entry) Brief() string {
	words := []string{e.Orig.Proto.String()}
	switch {
	case e.Orig.Proto == TCP:
		words[0] = e.State.String()
	case e.OtherState != "":
		words[0] = e.OtherState
	}
	if !e.Status.Has(SeenReply) {
		words = append(words, "[UNREPLIED]")
	}
	if e.Status.Has(Assured) {
		words = append(words, "[ASSURED]")
	}
	return strings.Join(words, " ")
}

// Status is the set of status bits of an entry (include/uapi/linux/netfilter/nf_conntrack_common.h, enum ip_conntrack_status).
type Status uint32

// The bits by the kernel's names, without their prefix IPS_.
const (
	Expected Status = 1 << iota
	SeenReply
	Assured
	Confirmed
	SrcNAT
	DstNAT
	SeqAdjust
	SrcNATDone
	DstNATDone
	Dying
	FixedTimeout
	Template
	Untracked
	Helper
	Offload
	HWOffload
)

var statusNames = [...]string{
	"EXPECTED", "SEEN_REPLY", "ASSURED", "CONFIRMED", "SRC_NAT", "DST_NAT", "SEQ_ADJUST", "SRC_NAT_DONE",
	"DST_NAT_DONE", "DYING", "FIXED_TIMEOUT", "TEMPLATE", "UNTRACKED", "HELPER", "OFFLOAD", "HW_OFFLOAD",
}

// Has reports whether all bits of want are set in s.
func (s Status) Has(want Status) bool { return s&want == want }

// String returns the names of the bits that are set, joined by commas as nft does: "SEEN_REPLY,ASSURED,CONFIRMED".
func (s Status) String() string {
	var names []string
	for i := range 32 {
		switch {
		case s&(1<<i) == 0:
		case i < len(statusNames):
			names = append(names, statusNames[i])
		default:
			names = append(names, fmt.Sprintf("BIT_%d", i))
		}
	}
	return strings.Join(names, ",")
}

// TCPState is the state of a TCP entry (include/uapi/linux/netfilter/nf_conntrack_tcp.h, enum tcp_conntrack).
// It is zero for other protocols.
type TCPState uint8

// The states by the kernel's names, without their prefix TCP_CONNTRACK_.
const (
	TCPNone TCPState = iota
	SynSent
	SynRecv
	Established
	FinWait
	CloseWait
	LastAck
	TimeWait
	Close
	SynSent2
)

// String returns the state's name as conntrack prints it, such as "SYN_SENT".
func (s TCPState) String() string {
	if int(s) < len(tcpStateNames) {
		return tcpStateNames[s]
	}
	return fmt.Sprintf("STATE_%d", uint8(s))
}

var tcpStateNames = [...]string{
	"NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE", "SYN_SENT2",
}

// tcpStateOf is the inverse of TCPState.String.
func tcpStateOf(name string) (TCPState, bool) {
	if i := slices.Index(tcpStateNames[:], name); i >= 0 {
		return TCPState(i), true
	}
	if number, ok := strings.CutPrefix(name, "STATE_"); ok {
		n, err := strconv.ParseUint(number, 10, 8)
		return TCPState(n), err == nil
	}
	return 0, false
}

// NAT says what the kernel translates in the packets of a flow. The zero NAT is nothing.
type NAT struct {
	// Src is the change of the original direction's source: SNAT and masquerading, at postrouting (or input).
	Src Translation
	// Dst is the change of its destination: DNAT and redirection, at prerouting (or output).
	Dst Translation
}

// Translation is the change of one end of a flow's original direction. Answers are translated back from To to From.
// The zero Translation is none. For ICMP the port is the query's identifier, for GRE the key.
type Translation struct{ From, To netip.AddrPort }

// NAT returns what is translated, which is the difference between the two tuples: answers go to where the flow seems to
// come from, and come from where it really goes to.
func (e Entry) NAT() NAT {
	if !e.Orig.Src.IsValid() || !e.Reply.Src.IsValid() {
		return NAT{} // not all of an entry is there
	}
	src, dst := ends(e.Orig)
	back, to := ends(e.Reply.Reverse())
	return NAT{Src: translation(src, back), Dst: translation(dst, to)}
}

// ends returns the two ends of a tuple, with the identifier of an ICMP query as the port of its source.
func ends(t Tuple) (src, dst netip.AddrPort) {
	if t.Proto.IsICMP() {
		return netip.AddrPortFrom(t.Src.Addr(), t.ICMP.ID), netip.AddrPortFrom(t.Dst.Addr(), 0)
	}
	return t.Src, t.Dst
}

func translation(from, to netip.AddrPort) Translation {
	if from == to {
		return Translation{}
	}
	return Translation{From: from, To: to}
}

// String prints what is translated: "src 10.0.0.2:1000 to 192.0.2.9:1000, dst 192.0.2.9:80 to 10.0.0.3:8080"; empty for
// the zero NAT.
func (n NAT) String() string {
	var s []string
	for _, c := range []struct {
		end string
		t   Translation
	}{{"src", n.Src}, {"dst", n.Dst}} {
		if c.t != (Translation{}) {
			s = append(s, fmt.Sprintf("%s %v to %v", c.end, c.t.From, c.t.To))
		}
	}
	return strings.Join(s, ", ")
}

// TCPInfo is what the kernel knows of each side of a TCP flow beside its state (struct ip_ct_tcp_state). The windows
// themselves it does not export.
type TCPInfo struct{ Orig, Reply TCPSide }

// TCPSide is the side that sends in one direction.
type TCPSide struct {
	Scale uint8 // the shift that its window is scaled by; zero unless Flags has WindowScale
	Flags TCPTrackFlags
}

// TCPTrackFlags are the tracker's own notes about a side, not the flags of a segment
// (include/uapi/linux/netfilter/nf_conntrack_tcp.h, IP_CT_TCP_FLAG_*; the last ones are of nf_conntrack_tcp.c).
type TCPTrackFlags uint8

// The flags by the kernel's names.
const (
	WindowScale        TCPTrackFlags = 1 << iota // it has offered window scaling
	SACKPerm                                     // it has offered selective acknowledgements
	CloseInit                                    // it has sent a FIN
	BeLiberal                                    // its window is not checked
	DataUnacknowledged                           // it has data on the way
	MaxACKSet                                    // its highest acknowledgement is known
	ChallengeACK                                 // a challenge ACK was seen
	SimultaneousOpen                             // both sides opened at once
)

var tcpTrackNames = [...]string{
	"WINDOW_SCALE", "SACK_PERM", "CLOSE_INIT", "BE_LIBERAL", "DATA_UNACKNOWLEDGED", "MAXACK_SET", "CHALLENGE_ACK",
	"SIMULTANEOUS_OPEN",
}

// Has reports whether all flags of want are set in f.
func (f TCPTrackFlags) Has(want TCPTrackFlags) bool { return f&want == want }

// String returns the names of the flags that are set, joined by commas.
func (f TCPTrackFlags) String() string {
	var names []string
	for i, name := range tcpTrackNames {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// DirSeqShift has the shift of the sequence numbers for each direction.
type DirSeqShift struct{ Orig, Reply SeqShift }

// SeqShift is a shift of the TCP sequence numbers of a direction (struct nf_ct_seqadj). The zero SeqShift is none.
type SeqShift struct {
	Position      uint32 // the sequence number where the offset changes
	Before, After int32  // what is added to sequence numbers before and after it
}

// String prints the shift: "+4 from 1000 on, +0 before".
func (s SeqShift) String() string {
	return fmt.Sprintf("%+d from %d on, %+d before", s.After, s.Position, s.Before)
}

// SynProxy is what SYNPROXY remembers of the handshake that it has answered in the server's place (struct
// nf_conn_synproxy).
type SynProxy struct {
	ISN      uint32 // its initial sequence number
	ITS      uint32 // its initial timestamp
	TSOffset uint32 // between its timestamps and the server's
}

// Direction is one of the two directions of a flow (include/uapi/linux/netfilter/nf_conntrack_tuple_common.h, enum
// ip_conntrack_dir, which counts from zero). The zero Direction means both.
type Direction uint8

// The directions: that of the packet that made the entry, and that of its answers.
const (
	Original Direction = 1 + iota
	Reply
)

// String returns "original" or "reply" as nft writes it, "both" for the zero Direction.
func (d Direction) String() string {
	names := [...]string{"both", "original", "reply"}
	if int(d) < len(names) {
		return names[d]
	}
	return fmt.Sprintf("direction(%d)", uint8(d))
}

// ZoneOf returns the zone that the tuple of a direction is looked up in.
func (e Entry) ZoneOf(d Direction) uint16 {
	if e.ZoneDir != 0 && e.ZoneDir != d {
		return 0
	}
	return e.Zone
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
