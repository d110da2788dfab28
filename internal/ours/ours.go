// Package ours names what ctexp itself puts into a namespace, so that netnsenv, which makes it, and observe, which
// hides it from what belongs to the user, agree on it.
package ours

const (
	// Table is the name of our nftables tables: family inet has the probes, family netdev the fence's ingress counters.
	Table = "ctexp"
	// TracePrefix begins the names of the base chains where the trace of a packet begins; the hook's name follows.
	TracePrefix = "trace_"
	// FarPrefix begins the name of the far end of a veth link, from which packets are injected.
	FarPrefix = "far."
	// FillerZone is the conntrack zone of the filler that leaves just so much room in the table.
	FillerZone uint16 = 65535
	// TablePort is the netlink port by which an Env writes many entries at once. The UPDATE events that come of it are those
	// of Age alone, and an observer passes them over. The kernel itself gives ports up to 4194304, the most a process id can
	// be, and negative ones (net/netlink/af_netlink.c, netlink_autobind).
	TablePort uint32 = 0x63746578
)
