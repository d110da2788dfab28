// Package nfnl implements netfilter's netlink protocol (NETLINK_NETFILTER, net/netfilter/nfnetlink.c) in the types of
// package nf.
//
// A Conn reads single entries and dumps, and sends a Batch of many requests at once. A Listener receives multicast
// messages. The Append functions encode requests, the Decode functions decode the kernel's messages:
//
//   - entries, expectations, their events and statistics (include/uapi/linux/netfilter/nfnetlink_conntrack.h and
//     net/netfilter/nf_conntrack_netlink.c)
//   - packets logged by NFLOG (include/uapi/linux/netfilter/nfnetlink_log.h and net/netfilter/nfnetlink_log.c)
//   - the trace of nftables (include/uapi/linux/netfilter/nf_tables.h and net/netfilter/nf_tables_trace.c)
//
// The sockets are those of mdlayher/netlink, but this package receives from them itself, in batches: mdlayher/netlink
// waits for an NLMSG_DONE that some replies do not have (see Conn) and needs at least one system call per event. The
// benchmarks BenchmarkTableOneByOne, BenchmarkTableInBulk, BenchmarkTableDump and BenchmarkTableEvents of package
// netnsenv compare ti-mo/conntrack with this package. Their results are the reason that it exists.
//
// Numbers in attributes are in network byte order, numbers in headers in host byte order.
package nfnl
