package nf

import (
	"fmt"
	"strings"
	"time"
)

// Dropped is a packet that the kernel has dropped, and the reason, as reported by the tracepoint skb:kfree_skb.
type Dropped struct {
	Time time.Time // when the packet was dropped
	// Reason is the kernel's name of the reason without SKB_DROP_REASON_ (include/net/dropreason-core.h): "IP_RPFILTER",
	// "NO_SOCKET", "NETFILTER_DROP"; "NOT_SPECIFIED" if the kernel gives none.
	Reason string
	// Function is the kernel function that dropped the packet: "ip_rcv_finish_core". Empty: unknown.
	Function string
	// Link is the interface that the packet belonged to when it was dropped: the one it arrived on or would have left by.
	// Empty: none yet.
	Link string
	// Packet is the beginning of the packet, from the network layer on, as it was when dropped: after NAT, for instance.
	Packet []byte
	// Length is the length of the whole packet in bytes, from the position where the kernel was reading it, which may be
	// behind the network header.
	Length int
}

// String returns the drop as one line without its time: "IP_RPFILTER in ip_rcv_finish_core: tun0 tcp src=… dst=…".
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
