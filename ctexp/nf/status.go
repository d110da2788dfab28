package nf

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

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
