// Package netnsenv opens network namespaces for experiments. An Env is such a namespace, a Config describes what is in
// it: links to inject packets through, rules, probes that count packets, sysctls, and a conntrack table with a given
// number of free entries.
//
//	func main() {
//		netnsenv.Enter() // from here on root in its own namespaces, without any privilege
//		env, err := netnsenv.Open(ctx, netnsenv.Config{Room: netnsenv.Free(7)})
//		…
//		defer env.Close()
//	}
//
// An Env has no name on the host and leaves nothing behind: its network namespace is held by a file descriptor and a
// thread of this process, and is gone with the process, even if that is killed. Envs are independent of each other. Any
// number of them can be open at once, and all methods are safe for concurrent use.
//
// # Defaults of a namespace
//
// A new namespace inherits some sysctls from the host. An Env sets those that affect packets, so that an experiment
// gives the same result everywhere: forwarding is off, rp_filter is off, redirects have the kernel's defaults, IPv6 is
// off unless a link or device has an IPv6 prefix, bridges pass packets on without iptables and conntrack
// (net.bridge.bridge-nf-call-iptables=0, if br_netfilter is loaded), and conntrack events are on (net.netfilter.nf_conntrack_events=1).
// Config.Sysctls overrides them. With IPv6, the host sends nothing on its own: duplicate address detection and router
// solicitations are off, and multicast reports are dropped.
//
// # Links, devices, wires
//
// A Link is an interface of the host whose other end the experiment has: packets that are written there arrive at the host. A
// Device lies on or over links and has no other end: a bridge of links, a VLAN, a tunnel. A Wire joins two Envs. A Shape
// is a drawing of several Envs and their wires.
//
// # Objects of this package
//
// Two nftables tables named ctexp (families inet and netdev) have the probes and the counters of packets that arrive on
// each link. A socket of this process owns them (NFT_TABLE_F_OWNER, since 5.12), so that "flush ruleset" does not
// delete them. A filler of entries in conntrack zone 65535 occupies the table except for Config.Room. Neither this
// package nor observe shows or deletes it.
//
// # The process's own network
//
// Threads begin in the base network namespace of the process, which Enter has made: it has lo, up, and nothing else. A
// thread may enter an Env, by FD or Path, and go back. With Entry.HostNetwork, or under unshare without -n, the base is
// the host's network, to which no thread can go back.
//
// # Debugging
//
// Enter executes the binary again, which a debugger does not follow. Run the debugger in new namespaces instead, which
// Enter and Open then use:
//
//	unshare -Urnm dlv test ./mypackage
package netnsenv
