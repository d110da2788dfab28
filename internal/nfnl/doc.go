// Package nfnl speaks netfilter's netlink (NETLINK_NETFILTER, net/netfilter/nfnetlink.c) in the nouns of package nf.
//
// A Conn asks: it reads single entries and whole lists, and sends a Batch of many requests at once. A Listener hears what the
// kernel tells by itself. The Append functions write requests, the Decode functions read what the
// kernel tells, each message in one place:
//
//   - entries, expectations, their events and statistics (include/uapi/linux/netfilter/nfnetlink_conntrack.h and
//     net/netfilter/nf_conntrack_netlink.c)
//   - packets logged by NFLOG (include/uapi/linux/netfilter/nfnetlink_log.h and net/netfilter/nfnetlink_log.c)
//   - the trace of nftables (include/uapi/linux/netfilter/nf_tables.h and net/netfilter/nf_tables_trace.c)
//
// Messages are written and read here, not by mdlayher/netlink and ti-mo/conntrack, because these wait for an NLMSG_DONE that
// some answers lack (see Conn) and take several system calls for each request and each event. The benchmarks of package
// netnsenv, BenchmarkTableOneByOne, BenchmarkTableInBulk, BenchmarkTableDump and BenchmarkTableEvents, compare ti-mo/conntrack
// with this package, and are the reason for it.
//
// Numbers in attributes are in network byte order, those in headers in that of the machine.
package nfnl
