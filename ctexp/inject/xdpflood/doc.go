// Package xdpflood sends a Flood by XDP: Send has the kernel make the packets and pass them to its network stack.
// Measured on Linux 6.18, this is twice as fast as a socket if each packet begins a flow, and four times as fast if all
// packets are dropped early.
//
//	f := inject.Flood{
//		Template: packet.SYN(web),
//		Vary:     []inject.Vary{{Field: inject.VarySrcPort, Count: 50_000}, {Field: inject.VarySrc, Count: 100}},
//		N:        5_000_000,
//	}
//	done, err := xdpflood.Send(ctx, env.Link("eth0"), f) // a link of Kind netnsenv.Veth
//
// The packets are the same as those that inject sends for this Flood, byte for byte and in the same order. When Send
// returns, the host has processed all of them. Send makes a BPF program from the Flood, and the kernel runs it in live
// frame mode (since Linux 5.18). This needs the host's root, not that of a user namespace (netnsenv.EnterWith with
// RealRoot). To start and to end takes about 30 ms.
//
// There are three differences to a socket. Each packet occupies a page of 4096 bytes, so that socket buffers hold fewer
// of them. An XDP program that the user attached to the link in native mode does not see the packets, one in generic
// mode does. And a Lab's Observer is not drained between the packets: it may lose some, which it reports as an error,
// unless it records neither frames nor events.
//
// It is a separate package so that other programs do not have to compile the code that loads BPF programs.
package xdpflood
