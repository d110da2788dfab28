package observe

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/pktline"
)

// Reason is what conntrack has to say about a packet: nearly always why it is INVALID, sometimes why it let one pass all
// the same ("packet (index 0) in dir 0 ignored, state ESTABLISHED").
type Reason struct {
	// Time is when the kernel had the packet, to the microsecond, whose end it is here: by time a reason stands behind
	// the frame of its packet. Where the kernel does not tell, it is when the Observer read the reason.
	Time time.Time
	Link string // by which the packet came in; of the host's own packets, by which it would leave
	// Packet begins at the network layer, as conntrack saw it: whole, where it came in fragments, and before any NAT.
	Packet []byte
	Text   string   // in the kernel's words: "SEQ is over upper bound 66537 (over the window of the receiver)"
	Proto  nf.Proto // whose tracker says so
}

// String prints the reason as one line, behind its packet:
//
//	12:00:00.000001 tun0 IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [none], win 65535, length 0: tcp: invalid tcp flag combination
func (r Reason) String() string {
	return fmt.Sprintf("%s %s %s: %v: %s", r.Time.Format("15:04:05.000000"), r.Link, pktline.Format(r.Packet), r.Proto, r.Text)
}

// Passed reports whether the reason is one of those that the kernel gives for packets that it then does not call INVALID,
// the entry staying as it is (net/netfilter/nf_conntrack_proto_tcp.c, NFCT_TCP_IGNORE, and the packets that are ignored in
// the table of states). With nf_conntrack_tcp_be_liberal others pass as well, which the text alone does not tell.
func (r Reason) Passed() bool {
	// Of kernels that call INVALID what is under the lower bound the text is "under the lower bound".
	for _, s := range []string{"ignored", "under lower bound", "bytes more than expected"} {
		if strings.Contains(r.Text, s) {
			return true
		}
	}
	return false
}

// splitReason cuts the prefix of a logged packet into the protocol and the text. ok is false for what is not conntrack's
// (net/netfilter/nf_conntrack_proto.c, nf_ct_l4proto_log_invalid).
func splitReason(prefix string) (proto nf.Proto, text string, ok bool) {
	rest, ok := strings.CutPrefix(prefix, "nf_ct_proto_")
	if !ok {
		return 0, "", false
	}
	number, text, ok := strings.Cut(rest, ": ")
	n, err := strconv.ParseUint(number, 10, 8)
	if !ok || err != nil {
		return 0, "", false
	}
	return nf.Proto(n), strings.TrimSpace(text), true
}
