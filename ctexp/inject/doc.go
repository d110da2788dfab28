// Package inject sends packets into a namespace under test: an Injector sends single packets, a Flood very many that differ in a
// few fields, a Replay those of a recording.
//
//	n, err := inject.New(link).Send(ctx, packet.SYNs(10, web))
//
// When Send returns, the host under test has processed the packets: counters, table and captures are final. On links with
// Ethernet, SendFrames sends whole frames.
//
// A Flood is sent at full speed or at a rate, by several goroutines:
//
//	inject.Flood{
//		Template: packet.SYN(web),
//		Vary:     []inject.Vary{{Field: inject.VarySrcPort, Count: 50_000}, {Field: inject.VarySrc, Count: 100}},
//		N:        1_000_000,
//		Queues:   2,
//	}.Send(ctx, link)
//
// As the host's root and on veth, xdpflood.Send lets the kernel make the same packets, two to four times as fast.
//
// A Replay sends packet.Records, of a pcap or pcapng file or as captured: the packets that the recording host received, or those
// that a function chooses, on one or more links, with mapped addresses and ports (packet.Remap), at full speed or at the
// recorded pace:
//
//	inject.Replay{Pace: 1}.Send(ctx, packet.ReadRecording(file), links...)
//
// A call that can only be a programming error, such as a nil Link, panics with a message that begins with "inject: ".
package inject
