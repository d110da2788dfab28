package nf

import (
	"fmt"
	"strings"
	"time"
)

// Dropped is a packet that the kernel has thrown away, and why: what the tracepoint skb:kfree_skb tells of it.
type Dropped struct {
	Time time.Time
	// Reason is the kernel's name for why, without SKB_DROP_REASON_ (include/net/dropreason-core.h): "IP_RPFILTER",
	// "NO_SOCKET", "NETFILTER_DROP"; "NOT_SPECIFIED" where the kernel does not say.
	Reason string
	// Function is the function of the kernel's that has thrown it away: "ip_rcv_finish_core". Empty: not known.
	Function string
	// Link is the interface that the packet belonged to then: by which it came in, or would have left. Empty: none yet.
	Link string
	// Packet is the beginning of the packet, from the network layer on, as it was then: behind NAT, for instance.
	Packet []byte
	// Length is that of the whole packet, from where the kernel was reading it: it may be without the network header.
	Length int
}

// String prints the drop in one line without its time: "IP_RPFILTER in ip_rcv_finish_core: tun0 tcp src=… dst=…".
func (d Dropped) String() string {
	var b strings.Builder
	b.WriteString(d.Reason)
	if d.Function != "" {
		b.WriteString(" in " + d.Function)
	}
	b.WriteByte(':')
	if d.Link != "" {
		b.WriteString(" " + d.Link)
	}
	if t, ok := TupleOf(d.Packet); ok {
		fmt.Fprintf(&b, " %v %v", t.Proto, t)
	} else {
		fmt.Fprintf(&b, " %d bytes", d.Length)
	}
	return b.String()
}
