package nf

import (
	"fmt"
	"strings"
	"time"
)

// Expectation is a flow that a helper has announced: the first packet that fits its Tuple in the bits of its Mask makes
// an entry that is RELATED to the one of its Master (include/net/netfilter/nf_conntrack_expect.h).
type Expectation struct {
	// Tuple is that of the packet that is expected. Mask says which bits of it count; of the destination's all do.
	Tuple, Mask Tuple
	Master      Tuple         // the original tuple of the entry that it belongs to
	Timeout     time.Duration // whole seconds until it is over, as of reading it
	Zone        uint16
	Helper      string // "ftp", say; empty for one that a rule has made
	Function    string // what the helper does with NAT, "nat-follow-master" say; empty without NAT
	Class       uint32 // number of its policy within the helper
	Flags       ExpectFlags
	NAT         ExpectNAT
	ID          uint32 // the kernel's own number of the expectation
}

// ExpectNAT is where the source (Reply false) or the destination of an expected flow is translated to; the zero
// ExpectNAT is no translation.
type ExpectNAT struct {
	Tuple Tuple // its source address and port are those that are put in
	Reply bool
}

// ExpectFlags is a set of the flags of an expectation (include/uapi/linux/netfilter/nf_conntrack_common.h,
// NF_CT_EXPECT_PERMANENT and so on).
type ExpectFlags uint32

// The flags by the kernel's names, without their prefix NF_CT_EXPECT_.
const (
	ExpectPermanent ExpectFlags = 1 << iota
	ExpectInactive
	ExpectUserspace
)

var expectFlagNames = [...]string{"PERMANENT", "INACTIVE", "USERSPACE"}

// String returns the names of the flags that are set, joined by commas: "PERMANENT,USERSPACE".
func (f ExpectFlags) String() string {
	var names []string
	for i := range 32 {
		switch {
		case f&(1<<i) == 0:
		case i < len(expectFlagNames):
			names = append(names, expectFlagNames[i])
		default:
			names = append(names, fmt.Sprintf("BIT_%d", i))
		}
	}
	return strings.Join(names, ",")
}

// String prints the expectation as one line, nearly as conntrack -L expect does, without what changes by itself (timeout,
// id). The mask of the source is shown where it is not all or nothing:
//
//	tcp src=192.0.2.1 dst=198.18.0.2 sport=0 dport=20001 master src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=21 helper=ftp
func (e Expectation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v %v", e.Tuple.Proto, e.Tuple)
	if e.Mask.Src.Addr().IsValid() && !sameBits(e.Mask.Src.Addr().AsSlice()) {
		fmt.Fprintf(&b, " mask-src=%v", e.Mask.Src.Addr())
	}
	fmt.Fprintf(&b, " master %v", e.Master)
	if e.NAT != (ExpectNAT{}) {
		fmt.Fprintf(&b, " nat=%v", e.NAT.Tuple.Src)
		if e.NAT.Reply {
			b.WriteString(" nat-dir=reply")
		}
	}
	if e.Flags != 0 {
		fmt.Fprintf(&b, " [%v]", e.Flags)
	}
	if e.Zone != 0 {
		fmt.Fprintf(&b, " zone=%d", e.Zone)
	}
	if e.Class != 0 {
		fmt.Fprintf(&b, " class=%d", e.Class)
	}
	if e.Helper != "" {
		fmt.Fprintf(&b, " helper=%s", e.Helper)
	}
	if e.Function != "" {
		fmt.Fprintf(&b, " function=%s", e.Function)
	}
	return b.String()
}

// sameBits reports whether all bits of b are 0 or all are 1.
func sameBits(b []byte) bool {
	for _, v := range b {
		if v != b[0] || v != 0 && v != 0xff {
			return false
		}
	}
	return true
}
