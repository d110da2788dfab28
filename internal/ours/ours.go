// Package ours names what ctexp itself puts into a namespace, so that netnsenv, which makes it, and observe, which
// hides it from what belongs to the user, agree on it.
package ours

const (
	// Table is the name of our nftables tables: family inet has the probes, family netdev the fence's ingress counters.
	Table = "ctexp"
	// Arrived begins the names of the counters, in the table of family netdev, of what a link has brought; the family and
	// the link follow: "arrived/ipv4/tun0".
	Arrived = "arrived/"
	// Answered begins the names of the counters of what the host says of packets without an entry; the family and the hook
	// follow: "answered/ipv4/postrouting".
	Answered = "answered/"
	// Passed begins those of the INVALID packets that have got to the confirmation: "passed/ipv4/input".
	Passed = "passed/"
	// InvalidGroup is the group of NFLOG that tells of the packets that conntrack has called INVALID.
	InvalidGroup uint16 = 0x6374
	// TracePrefix begins the names of the base chains where the trace of a packet begins; the hook's name follows.
	TracePrefix = "trace_"
	// FarPrefix begins the name of the far end of a veth link, from which packets are injected.
	FarPrefix = "far."
	// FillerZone is the conntrack zone of the filler that leaves just so much room in the table.
	FillerZone uint16 = 65535
	// AgePort is the netlink port of the socket by which Age writes times. Observers pass the UPDATE events over that it
	// causes. The kernel itself gives ports up to 4194304, the most a process id can be, and negative ones
	// (net/netlink/af_netlink.c, netlink_autobind).
	AgePort uint32 = 0x63746578
)
