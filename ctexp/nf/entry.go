package nf

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Entry is an entry of the conntrack table: a flow as the kernel tracks it.
type Entry struct {
	// Orig is the tuple of the packet that created the entry, Reply the tuple expected of its replies. Without NAT,
	// Reply is Orig.Reverse(). The method NAT returns the difference.
	Orig, Reply Tuple
	Status      Status        // the status bits
	State       TCPState      // zero unless the protocol is TCP
	Timeout     time.Duration // time until the entry expires, in whole seconds, at the time of reading
	Mark        uint32        // the connmark
	Zone        uint16        // the conntrack zone; zero: the default zone
	ZoneDir     Direction     // the direction whose tuple is in Zone, while the other one is in zone 0; zero: both
	// Packets and Bytes are the counters of both directions if net.netfilter.nf_conntrack_acct is 1, else zero.
	Packets, Bytes DirCounts
	Labels         string // in hexadecimal, lowest byte first; empty without labels
	Helper         string // the helper, such as "ftp"; empty without one
	ID             uint32 // the kernel's ID of the entry; zero in a request: any

	// OtherState is the state of an SCTP or DCCP entry by the kernel's name, such as "COOKIE_WAIT" or "OPEN"; empty for
	// other protocols.
	OtherState string
	// TCP is the rest of the TCP tracking state; zero in DESTROY events and unless the protocol is TCP.
	TCP TCPInfo
	// Start and Stop are when the entry was created and destroyed, if net.netfilter.nf_conntrack_timestamp was 1 when
	// it was created; else zero. Only DESTROY events have a Stop.
	Start, Stop time.Time
	// SeqAdjust is the shift of the TCP sequence numbers of each direction by helpers and SYNPROXY.
	SeqAdjust DirSeqShift
	SynProxy  SynProxy // the state of SYNPROXY; zero unless it has answered the handshake
	Master    Tuple    // the original tuple of the flow that expected this one; zero unless Status has Expected
	SecCtx    string   // the security context, if a security module such as SELinux labels packets; else empty
}

// DirCounts is a count for each direction of a flow.
type DirCounts struct {
	Orig, Reply uint64 // packets or bytes in the original and the reply direction
}

// String returns the entry as one line in the words of conntrack -L. It leaves out the timeout, the counters and the
// ID, which change between runs, so that lines of two runs can be sorted and compared:
//
//	tcp SYN_SENT src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80 [UNREPLIED] src=192.0.2.1 dst=198.18.0.2 sport=80 dport=10000
//
// ParseEntry is the inverse.
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

// Brief returns the state of the entry without its tuples: the TCP state or the protocol, and [UNREPLIED] or [ASSURED]
// as in conntrack -L: "SYN_SENT [UNREPLIED]", "SYN_RECV", "ESTABLISHED [ASSURED]", "udp [UNREPLIED]".
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

// ZoneOf returns the zone in which the tuple of a direction is looked up.
func (e Entry) ZoneOf(d Direction) uint16 {
	if e.ZoneDir != 0 && e.ZoneDir != d {
		return 0
	}
	return e.Zone
}

// Status is the set of status bits of an entry (include/uapi/linux/netfilter/nf_conntrack_common.h, enum
// ip_conntrack_status).
type Status uint32

// The status bits by the kernel's names, without the prefix IPS_.
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

// The TCP states by the kernel's names, without the prefix TCP_CONNTRACK_.
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

// NAT is what the kernel translates in the packets of a flow. The zero NAT means no translation.
type NAT struct {
	Src Translation // of the original direction's source: SNAT and masquerade, at postrouting (or input)
	Dst Translation // of the original direction's destination: DNAT and redirect, at prerouting (or output)
}

// Translation is the translation of one end of a flow's original direction. The zero Translation means none.
type Translation struct {
	// From is translated to To; in replies, To is translated back to From. The port is the identifier of an ICMP query
	// and the key of GRE.
	From, To netip.AddrPort
}

// NAT returns the translations of the entry, which are the difference between its two tuples: the reply tuple has the
// translated source as its destination and the translated destination as its source.
func (e Entry) NAT() NAT {
	if !e.Orig.Src.IsValid() || !e.Reply.Src.IsValid() {
		return NAT{} // a partial entry
	}
	src, dst := ends(e.Orig)
	back, to := ends(e.Reply.Reverse())
	return NAT{Src: translation(src, back), Dst: translation(dst, to)}
}

// ends returns the two ends of a tuple. The port of an ICMP query's source is its identifier.
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

// String returns the translations: "src 10.0.0.2:1000 to 192.0.2.9:1000, dst 192.0.2.9:80 to 10.0.0.3:8080"; empty for
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

// TCPInfo is what the kernel tracks of each side of a TCP flow beside the state (struct ip_ct_tcp_state). It does not
// export the windows themselves.
type TCPInfo struct {
	Orig, Reply TCPSide // the senders of the original and the reply direction
}

// TCPSide is the tracking state of the sender of one direction.
type TCPSide struct {
	Scale uint8         // window scale; zero unless Flags has WindowScale
	Flags TCPTrackFlags // what the sender has offered and sent
}

// TCPTrackFlags are conntrack's flags about one side of a TCP flow, not the flags of a segment
// (include/uapi/linux/netfilter/nf_conntrack_tcp.h, IP_CT_TCP_FLAG_WINDOW_SCALE to IP_CT_TCP_SIMULTANEOUS_OPEN).
type TCPTrackFlags uint8

// The flags by the kernel's names, without their prefixes.
const (
	WindowScale        TCPTrackFlags = 1 << iota // the side offered window scaling
	SACKPerm                                     // the side offered selective acknowledgements
	CloseInit                                    // the side sent a FIN
	BeLiberal                                    // the window of the side is not checked
	DataUnacknowledged                           // the side has unacknowledged data
	MaxACKSet                                    // the highest acknowledgement of the side is known
	ChallengeACK                                 // a challenge ACK was seen
	SimultaneousOpen                             // both sides opened the connection simultaneously
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

// DirSeqShift is the shift of the TCP sequence numbers in each direction.
type DirSeqShift struct {
	Orig, Reply SeqShift // of the segments in the original and the reply direction
}

// SeqShift is a shift of the TCP sequence numbers of one direction (struct nf_ct_seqadj). The zero SeqShift means none.
type SeqShift struct {
	Position      uint32 // the sequence number where the offset changes
	Before, After int32  // what is added to sequence numbers before and after Position
}

// String returns the shift: "+4 from 1000 on, +0 before".
func (s SeqShift) String() string {
	return fmt.Sprintf("%+d from %d on, %+d before", s.After, s.Position, s.Before)
}

// SynProxy is what SYNPROXY remembers of a handshake that it answered for the server (struct nf_conn_synproxy).
type SynProxy struct {
	ISN      uint32 // initial sequence number of SYNPROXY
	ITS      uint32 // initial timestamp of SYNPROXY
	TSOffset uint32 // offset between the timestamps of SYNPROXY and the server
}

// Direction is one of the two directions of a flow (include/uapi/linux/netfilter/nf_conntrack_tuple_common.h, enum
// ip_conntrack_dir, which counts from zero). The zero Direction means both.
type Direction uint8

// The directions: that of the packet that created the entry, and that of its replies.
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

// Filter selects entries. The zero Filter selects all entries of the experiment.
type Filter struct {
	Family Family // zero: both
	// Mark selects entries whose mark is equal in the bits of MarkMask; zero MarkMask: any mark.
	Mark, MarkMask uint32
	// Status selects entries whose status is equal in the bits of StatusMask; zero StatusMask: any status.
	Status, StatusMask Status
	// Zone selects entries of one zone; nil: any zone. See InZone.
	Zone *uint16
	// Those below are compared after reading, because the kernel does not filter them, or not in every version.
	Proto Proto // zero: any protocol
	Tuple Tuple // selects entries with this original or reply tuple; zero: any
	// Src and Dst are prefixes that contain the addresses of the original direction; one address is a prefix of full length. Zero: any.
	Src, Dst netip.Prefix
	// SrcPort and DstPort are the ports of the original direction; zero: any.
	SrcPort, DstPort uint16
	// Port is a port of either end in either direction, so also one that NAT has given; zero: any.
	Port uint16
	// Addr is a prefix that contains an address of either end in either direction; zero: any.
	Addr  netip.Prefix
	State TCPState // of TCP entries; TCPNone: any
	// Before and After select entries that were created before and after these times. Entries whose Start is not known match neither.
	// Zero: any.
	Before, After time.Time
}

// InZone returns a value for Filter.Zone. InZone(0) selects the entries of zone 0 only.
func InZone(zone uint16) *uint16 { return &zone }

// Check returns what is wrong with f, nil if nothing is: fields that exclude each other, so that it selects nothing, and a mark or a
// status of which no bit is compared, because its mask is without them.
func (f Filter) Check() error {
	if err := checkMark(f.Mark, f.MarkMask); err != nil {
		return err
	}
	if f.Status != 0 && f.Status&f.StatusMask == 0 {
		return fmt.Errorf("the status %v is not compared with: StatusMask is %v", f.Status, f.StatusMask)
	}
	proto := f.Proto
	if t := f.Tuple.Proto; t != 0 {
		if proto != 0 && proto != t {
			return fmt.Errorf("no entry of %v has a tuple of %v", proto, t)
		}
		proto = t
	}
	if err := f.Tuple.check(); err != nil {
		return err
	}
	switch ports := f.SrcPort != 0 || f.DstPort != 0 || f.Port != 0; {
	case f.State != TCPNone && proto != 0 && proto != TCP:
		return fmt.Errorf("no entry of %v is %v", proto, f.State)
	case ports && proto.IsICMP():
		return fmt.Errorf("no entry of %v has ports", proto)
	case !f.Before.IsZero() && !f.After.IsZero() && !f.Before.After(f.After):
		return errors.New("no entry was created before Before and after After")
	case f.After.After(time.Now()):
		return fmt.Errorf("no entry was created after %v yet", f.After)
	}
	family := f.Family
	if is := familyOf[proto]; is != 0 && family != 0 && is != family {
		return fmt.Errorf("no entry of %v is of %v", proto, family)
	} else if is != 0 {
		family = is
	}
	for _, a := range []netip.Addr{f.Src.Addr(), f.Dst.Addr(), f.Addr.Addr(), f.Tuple.Src.Addr(), f.Tuple.Dst.Addr()} {
		if !a.IsValid() {
			continue
		}
		if is := FamilyOf(a); family == 0 {
			family = is
		} else if is != family {
			return fmt.Errorf("no entry of %v has the address %v", family, a)
		}
	}
	return nil
}

// Match reports whether f selects e.
func (f Filter) Match(e Entry) bool {
	return (f.Family == 0 || f.Family == e.Orig.Family()) &&
		e.Mark&f.MarkMask == f.Mark&f.MarkMask &&
		e.Status&f.StatusMask == f.Status&f.StatusMask &&
		(f.Zone == nil || *f.Zone == e.Zone) &&
		(f.Proto == 0 || f.Proto == e.Orig.Proto) &&
		(f.Tuple == Tuple{} || f.Tuple == e.Orig || f.Tuple == e.Reply) &&
		(f.State == TCPNone || f.State == e.State && e.Orig.Proto == TCP) &&
		f.matchEnds(e) &&
		(f.Before.IsZero() || !e.Start.IsZero() && e.Start.Before(f.Before)) &&
		(f.After.IsZero() || e.Start.After(f.After))
}

// matchEnds reports whether f selects the addresses and ports of e.
func (f Filter) matchEnds(e Entry) bool {
	in := func(p netip.Prefix, ends ...netip.AddrPort) bool {
		return p == netip.Prefix{} || slices.ContainsFunc(ends, func(end netip.AddrPort) bool { return p.Contains(end.Addr()) })
	}
	has := func(port uint16, ends ...netip.AddrPort) bool {
		return port == 0 || slices.ContainsFunc(ends, func(end netip.AddrPort) bool { return port == end.Port() })
	}
	src, dst := e.Orig.Src, e.Orig.Dst
	all := []netip.AddrPort{src, dst, e.Reply.Src, e.Reply.Dst}
	return in(f.Src, src) && in(f.Dst, dst) && has(f.SrcPort, src) && has(f.DstPort, dst) && in(f.Addr, all...) && has(f.Port, all...)
}
