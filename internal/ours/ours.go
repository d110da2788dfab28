// Package ours names the objects that ctexp itself creates in a namespace. Package netnsenv creates them, and observe
// hides them from the user's own objects.
package ours

const (
	// Table is the name of our nftables tables: the one of family inet has the probes, the one of family netdev the
	// ingress counters of the fence.
	Table = "ctexp"
	// Arrived is the prefix of the counters of packets that arrived on a link, in the netdev table. The family and the
	// link follow: "arrived/ipv4/tun0".
	Arrived = "arrived/"
	// Leaving and Left are the prefixes of the counters of packets that met the hook egress of a link, in the netdev table: before
	// the user's rules and behind them. The family and the link follow: "leaving/ipv4/tun0".
	Leaving, Left = "leaving/", "left/"
	// Replies is the prefix of the counters of the replies that the host sends to packets without a confirmed entry. The
	// family and the hook follow: "replies/ipv4/postrouting".
	Replies = "replies/"
	// InvalidConfirmed is the prefix of the counters of INVALID packets that reached the hook where entries are confirmed:
	// "invalid/ipv4/input".
	InvalidConfirmed = "invalid/"
	// Passed is the prefix of the counters of packets that were behind all rules of a hook's last priority, and behind the
	// confirmation: "passed/ipv4/input".
	Passed = "passed/"
	// InvalidGroup is the NFLOG group that receives the packets that conntrack considers INVALID.
	InvalidGroup uint16 = 0x6374
	// HoldQueue is the first of the numbers of the queues (NFQUEUE) that hold packets.
	HoldQueue uint16 = 0x6374
	// TracePrefix is the prefix of the base chains that enable tracing for a packet. The hook's name follows.
	TracePrefix = "trace_"
	// FarPrefix is the prefix of the name of a veth link's far end, from which packets are injected.
	FarPrefix = "far."
	// FillerZone is the conntrack zone of the entries that fill the table up to the requested room.
	FillerZone uint16 = 65535
	// AgePort is the netlink port of the socket through which Age writes timeouts. Observers ignore the UPDATE events
	// that it causes. The kernel assigns only ports up to 4194304, the largest process ID, and negative ones
	// (net/netlink/af_netlink.c, netlink_autobind).
	AgePort uint32 = 0x63746578
)

// The families of our tables (include/uapi/linux/netfilter.h, NFPROTO_INET and NFPROTO_NETDEV).
const (
	Inet   uint8 = 1
	Netdev uint8 = 5
)

// IsTable reports whether a table of nftables is ours. The kernel keeps the user from making one of its name in these
// families, because ours have an owner; one of another family is the user's.
func IsTable(family uint8, name string) bool {
	return name == Table && (family == Inet || family == Netdev)
}
