package nf

import (
	"fmt"
	"strings"
	"time"
)

// Expectation is a flow that a helper expects. The first packet that matches its Tuple in the bits of its Mask creates
// an entry that is RELATED to the Master's (include/net/netfilter/nf_conntrack_expect.h).
type Expectation struct {
	// Tuple is the tuple of the expected packet. Mask selects the bits of its source that are compared. All bits of the
	// destination are.
	Tuple, Mask Tuple
	Master      Tuple         // the original tuple of the entry that the expectation belongs to
	Timeout     time.Duration // time until the expectation expires, in whole seconds, at the time of reading
	Zone        uint16        // the conntrack zone of the master
	Helper      string        // the helper, such as "ftp"; of an expectation that a rule created it is empty, or "nft_ct_expect" (seen: 7.3)
	Function    string        // the helper's NAT function, such as "nat-follow-master"; empty without NAT
	Class       uint32        // number of the expectation policy within the helper
	Flags       ExpectFlags   // zero for most helpers
	NAT         ExpectNAT     // how the expected flow is translated
	ID          uint32        // the kernel's ID of the expectation
}

// ExpectNAT is the translation of an expected flow. The zero ExpectNAT means none.
type ExpectNAT struct {
	Tuple Tuple // its source is the new address and port
	Reply bool  // the destination is translated; false: the source
}

// ExpectFlags is a set of the flags of an expectation (include/uapi/linux/netfilter/nf_conntrack_common.h,
// NF_CT_EXPECT_PERMANENT and so on).
type ExpectFlags uint32

// The flags by the kernel's names, without the prefix NF_CT_EXPECT_.
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

// String returns the expectation as one line, similar to conntrack -L expect, without the timeout and the ID. The mask
// of the source is printed if its bits are not all equal:
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
