// Package dropreason tells which packets the kernel throws away in a network namespace, and why: by the name that the kernel
// has for the reason (enum skb_drop_reason, since Linux 5.17), with the function that did it and the packet's first bytes.
//
//	w, err := dropreason.Open(env) // any namespace: what has an FD
//	if err != nil {
//		return err // without the host's root it answers to errors.ErrUnsupported
//	}
//	defer w.Close()
//	// send packets here
//	for d, err := range w.Drops(ctx) {
//		fmt.Println(d, err) // "IP_RPFILTER in ip_rcv_finish_core: tun0 tcp src=198.18.0.2 …"
//	}
//
// It sees what no probe and no counter of a namespace tells: martians, a closed port, a socket's full buffer, a checksum. What
// a rule dropped is just NETFILTER_DROP here; the Observer says by which rule. Observer.SetDropSource gives its Path and its Timeline
// the reasons.
//
// A BPF program at the tracepoint skb:kfree_skb does it. That needs the host's root, rather than that of a user namespace
// (netnsenv.EnterWith with RealRoot), and a kernel with BPF and with BTF of itself; while a Watcher is open, what is
// dropped in its namespace costs some 3 µs more, and what is dropped elsewhere on the host a tenth of one.
package dropreason
