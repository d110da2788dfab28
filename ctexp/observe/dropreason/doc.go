// Package dropreason records the packets that the kernel drops in a network namespace. A Watcher returns each as an
// nf.Dropped: the kernel's name of the reason (enum skb_drop_reason, since Linux 5.17), the function that dropped it,
// and its first bytes.
//
//	w, err := dropreason.Open(env) // or anything else with a method FD
//	if err != nil {
//		return err // without the host's root, errors.Is(err, errors.ErrUnsupported)
//	}
//	defer w.Close()
//	// send packets here
//	for d, err := range w.Drops(ctx) {
//		fmt.Println(d, err) // "IP_RPFILTER in ip_rcv_finish_core: tun0 tcp src=198.18.0.2 …"
//	}
//
// It sees drops that no probe and no counter of a namespace shows: martians, closed ports, full socket buffers, wrong
// checksums. A packet dropped by a rule has only the reason NETFILTER_DROP; the Observer names the rule.
// Observer.SetDropSource adds the reasons to the Observer's Path and Timeline.
//
// The Watcher attaches a BPF program to the tracepoint skb:kfree_skb. This needs the host's root, not that of a user
// namespace (netnsenv.EnterWith with RealRoot), and a kernel with BPF and BTF. While a Watcher is open, a drop in its
// namespace takes about 3 µs longer, and a drop elsewhere on the host about 0.1 µs.
package dropreason
