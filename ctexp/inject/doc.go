// Package inject sends packets into a namespace under test: an Injector one by one, a Flood very many that differ in a few
// fields, a Replay those of a recording.
//
//	n, err := inject.New(link).Send(ctx, packet.SYNs(10, web))
//
// When Send returns, the host under test is done with the packets: counters, table and captures are final. Where the host sees
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
// As the host's root, and on veth, xdpflood.Send has the kernel itself make the same packets, two to four times as fast.
//
// A Replay sends packet.Records, of a pcap or pcapng file or as they were captured: what came in where they were recorded, or what
// a rule chooses, by as many links as there are, under other addresses and ports if need be (packet.Remap), at once or at
// the recorded pace:
//
//	inject.Replay{Pace: 1}.Send(ctx, packet.ReadRecording(file), links...)
//
// A call that can only be a mistake of the programmer, such as a nil Link, panics with a text that begins with "inject: ".
package inject
