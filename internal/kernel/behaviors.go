package kernel

import "os"

// The behaviors, from the table to what is read of it.
var (
	// OwnedTables: an nftables table may belong to a socket, so that nobody else can change it, nor "flush ruleset" delete it.
	OwnedTables = Behavior{
		need: "nftables tables with an owner", since: release{5, 12},
		why: `6001a930ce03 "netfilter: nftables: introduce table ownership"`,
	}
	// EventsOnDemand: by default, entries have events only if somebody listens when they are created (nf_conntrack_events=2).
	EventsOnDemand = Behavior{
		need: "events on demand", since: release{5, 19},
		why: `90d1daa45849 "netfilter: conntrack: add nf_conntrack_events autodetect mode"`,
	}
	// EndsTold: the DESTROY event of an entry that did not time out has the time that was left, and all of TCP have the state.
	// Without both nothing tells why an entry was removed.
	EndsTold = Behavior{
		need: "DESTROY events with time and state", since: release{5, 13},
		why: `86d21fc74745 "netfilter: ctnetlink: add timeout and protoinfo to destroy events"`,
	}
	// EgressHook: rules of family netdev meet frames as they leave.
	EgressHook = Behavior{
		need: "the hook egress", since: release{5, 16},
		why: `42df6e1d221d "netfilter: Introduce egress hook"`,
	}
	// EventTime: events have the time of the change.
	EventTime = Behavior{
		need: "times of events", since: release{6, 14},
		why: "net/netfilter/nf_conntrack_netlink.c, ctnetlink_dump_event_timestamp",
	}
	// ChainTooLong: the statistics of conntrack have the count chaintoolong.
	ChainTooLong = Behavior{
		need: "the count chaintoolong", since: release{5, 15},
		why: "net/netfilter/nf_conntrack_netlink.c, ctnetlink_ct_stat_cpu_fill_info",
	}
	// ReasonLink: what conntrack logs about a packet has the link.
	ReasonLink = Behavior{
		need: "links of the reasons of conntrack", since: release{5, 14},
		why: `62eec0d73393 "netfilter: conntrack: pass hook state to log functions"`,
	}
	// InvalidNewLogged: conntrack logs a reason for a TCP packet that cannot begin a flow.
	InvalidNewLogged = Behavior{
		need: `the reason "invalid new"`, since: release{6, 7},
		why: `6ac9c51eebe8 "netfilter: conntrack: prefer tcp_error_log to pr_debug"`,
	}
	// BesideWindowPasses: a TCP segment below the window, or beyond its right edge by less than a window, is not INVALID. The
	// reasons that conntrack logs have numbers since then.
	BesideWindowPasses = Behavior{
		need: "segments beside the window that pass", since: release{6, 1},
		why: `6e250dcbff1d "netfilter: conntrack: ignore overly delayed tcp packets"`,
	}
	// SYNACKRenewed: a SYN+ACK that follows another one which was ignored is not held against that one's numbers.
	SYNACKRenewed = Behavior{
		need: "SYN+ACKs that begin anew", since: release{5, 17},
		why: `82b72cb94666 "netfilter: conntrack: re-init state for retransmitted syn-ack"`,
	}
	// ZoneFilters: ctnetlink dumps and flushes the entries of one zone if asked to; before it did not look at the zone.
	ZoneFilters = Behavior{
		need: "filters of ctnetlink by zone", since: release{6, 8},
		why: `eff3c558bb7e "netfilter: ctnetlink: support filtering by zone"`,
	}
	// StatusFilters: ctnetlink dumps the entries of a status if asked to; before it did not look at the status.
	StatusFilters = Behavior{
		need: "filters of ctnetlink by status", since: release{5, 15},
		why: "net/netfilter/nf_conntrack_netlink.c, ctnetlink_alloc_filter",
	}
	// DCCPTracked: DCCP has a tracker, with states.
	DCCPTracked = Behavior{
		need: "the tracker of DCCP", until: release{6, 18}, shown: exists("net/netfilter/nf_conntrack_dccp_timeout_request"),
		why: "net/netfilter/nf_conntrack_proto_dccp.c",
	}
	// FibBehindRouting: an nft rule asks the routes for the interface of a packet also in input and forward, with its own one.
	FibBehindRouting = Behavior{
		need: "fib … iif oif in input", since: release{5, 19},
		why: "net/netfilter/nft_fib.c, nft_fib_validate",
	}
	// ExpectMillis: the timeout of an expectation object of nftables is in milliseconds; before, the kernel took it for seconds.
	// Measured: not up to 6.18, but in 7.3.
	ExpectMillis = Behavior{
		need: "timeouts of expectation objects in milliseconds", since: release{7, 0},
		why: "net/netfilter/nft_ct.c, nft_ct_expect_obj_eval",
	}
	// HelperDropsLogged: what a conntrack helper drops is logged. Measured: up to 6.18, and not in 7.3.
	HelperDropsLogged = Behavior{
		need: "packets that conntrack helpers drop in the log", until: release{7, 0},
		why: "net/netfilter/nf_conntrack_helper.c, nf_ct_helper_log",
	}
	// UDPLiteTracked: UDP-Lite has ports for conntrack. Measured: up to 6.18, and not in 7.3.
	UDPLiteTracked = Behavior{
		need: "the tracker of UDP-Lite", until: release{7, 0},
		why: "net/netfilter/nf_conntrack_proto.c, nf_ct_l4proto_find",
	}
	// ZeroLimit: a limit of zero is no limit. Measured: up to 6.18; 7.3 refuses it.
	ZeroLimit = Behavior{
		need: "a limit of zero", until: release{7, 0},
		why: "net/netfilter/nf_conntrack_standalone.c, nf_ct_sysctl_table",
	}
	// SourceReasons: the kernel's drop reasons tell wrong source addresses apart.
	SourceReasons = Behavior{
		need: "drop reasons of source addresses", since: release{6, 13},
		why: "include/net/dropreason-core.h, SKB_DROP_REASON_IP_LOCAL_SOURCE",
	}
	// QueuedClashes: a packet that leaves a queue after another one of its new flow clashes with it when it is confirmed.
	// Before, it took the entry of the first one when it left the queue, with the first one's translation.
	QueuedClashes = Behavior{
		need: "clashes of packets that were queued", since: release{6, 12},
		why: `"netfilter: nfnetlink_queue: remove old clash resolution logic"`,
	}
	// RPSDefaultMask: a namespace has a mask of the CPUs to which packets of new links are moved.
	RPSDefaultMask = Behavior{
		need: "net.core.rps_default_mask", since: release{6, 3}, shown: exists("net/core/rps_default_mask"),
		why: "net/core/sysctl_net_core.c, rps_default_mask",
	}
	// TraceState: trace messages have the packet's conntrack state and the status of its entry.
	TraceState = Behavior{
		need: "nftrace of conntrack", since: release{6, 16},
		why: "net/netfilter/nf_tables_trace.c, nf_trace_fill_ct_info",
	}
	// UnconfirmedList: the kernel has a list of entries that are not confirmed yet.
	UnconfirmedList = Behavior{
		need: "the list of unconfirmed entries", until: release{5, 19},
		why: `8a75a2c17410 "netfilter: conntrack: remove unconfirmed list"`,
	}
)

// exists returns a function that reports whether a file of /proc/sys exists, which the running kernel shows.
func exists(name string) func() bool {
	return func() bool {
		_, err := os.Stat("/proc/sys/" + name)
		return err == nil
	}
}
