// Package netnsenv opens network namespaces to experiment in: with links to inject packets by, rules, probes that
// count, sysctls, and a conntrack table with exactly as much room as one asks for.
//
//	func main() {
//		netnsenv.Enter() // root of namespaces of its own from here on, without any privilege
//		env, err := netnsenv.Open(ctx, netnsenv.Config{Room: netnsenv.Free(7)})
//		…
//		defer env.Close()
//	}
//
// An Env has no name on the host and leaves nothing behind: its network namespace is held by a file descriptor and
// a thread of this process, and vanishes with it, also when the process is killed. Envs are independent of each
// other; any number can be open at once, and all methods may be called from any goroutine.
//
// # What a new namespace is like
//
// The kernel gives a new namespace some values of the host's. An Env sets those that change the fate of packets, so
// that an experiment is the same everywhere: forwarding is off, rp_filter is off, redirects are as the kernel has
// them by default, IPv6 is off unless a link has an IPv6 prefix, and conntrack events are always on
// (net.netfilter.nf_conntrack_events=1). Config.Sysctls has the last word. With IPv6 the host makes no noise of its own: no
// duplicate address detection, no router solicitations, and its reports of multicast groups are dropped.
//
// # What is ours in it
//
// Two nftables tables named ctexp (families inet and netdev) hold the probes and the count of what came in by each
// link. They are owned by a socket of this process (NFT_TABLE_F_OWNER, since 5.12), so that a ruleset that begins
// with "flush ruleset" leaves them alone. A filler of entries in conntrack zone 65535 takes up what Config.Room does
// not leave; nothing of this package or of observe ever shows or deletes it.
//
// # Debugging
//
// Enter executes the binary again, which a debugger does not follow. Give it the namespaces instead: Enter and Open
// take them as they are,
//
//	unshare -Urm dlv test ./mypackage
package netnsenv
