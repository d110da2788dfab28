// Package xdpflood sends a Flood by way of XDP: the kernel itself makes the packets and hands them to its stack: as measured
// on 6.18, twice as many in a second as by a socket where each begins a flow, and four times as many where all are dropped at once.
//
//	f := inject.Flood{
//		Template: packet.SYN(web),
//		Vary:     []inject.Vary{{Field: inject.VarySrcPort, Count: 50_000}, {Field: inject.VarySrc, Count: 100}},
//		N:        5_000_000,
//	}
//	done, err := xdpflood.Send(ctx, env.Link("eth0"), f) // a link of Kind netnsenv.Veth
//
// The packets are those of the same Flood sent by inject, byte for byte and in that order, and when Send returns, all of
// them are final. A program of BPF is made of the Flood and run by the kernel in what it calls live frame mode (Linux 5.18). That
// needs the host's root, rather than that of a user namespace (netnsenv.EnterWith with RealRoot); it takes some 30 ms to begin and to end.
//
// Three things are not as with a socket. A packet occupies a page, 4096 bytes, so that the buffers of sockets hold fewer of
// them. An XDP program that the user attached to the link natively does not see them, a generic one does. And the
// Observer of a Lab is not made to take what it has between the packets: it may lose some (which is an error, as always),
// unless it is without frames and events.
//
// It is a package of its own so that nothing else compiles what loads BPF programs.
package xdpflood
