// Package inject builds packets and sends them into a namespace under test.
//
// A Packet is bytes from the network layer on. Flow makes the usual ones, Build any that gopacket has layers for
// (github.com/google/gopacket/layers; gopacket/gopacket, which go.mod has as well, reads and writes files within ctexp):
//
//	web := inject.Flow{
//		Src: netip.MustParseAddrPort("198.18.0.2:10000"),
//		Dst: netip.MustParseAddrPort("192.0.2.1:80"),
//	}
//	inject.SYN(web)
//	web.UDP([]byte("hello"))
//	web.Reverse().TCP(inject.TCP{Flags: inject.FlagSYN | inject.FlagACK, Seq: 1, Ack: 2})
//
// Likewise SCTP with its chunks, UDPLite, DCCP, GRE, PPTP and, with any protocol number, Raw; Echo, IGMP, and the errors of
// ICMP about a packet: Unreachable, PacketTooBig, TimeExceeded and so on, for both families.
//
// One packet is made of another by With, which keeps lengths and checksums right, or makes them wrong where it is told to:
//
//	syn := inject.SYN(web)
//	syn.With(inject.TTL(1), inject.Options(inject.MSS(1460), inject.WindowScale(7)))
//	syn.With(inject.HeaderChecksum(0xbad))
//	inject.SYN(web6).With(inject.HopByHop(), inject.DestinationOptions())
//
// Fragments cuts one at an MTU, Fragment takes any piece of it, so that pieces can overlap or be missing. String is a line
// in the manner of tcpdump, Fields all that is in a packet, and Diff compares two of them field by field.
//
// Where the host sees Ethernet, SendFrames sends whole frames: Packet.Frame, Frame.VLAN, ARPRequest.
//
// Many packets are an iter.Seq[Packet], such as SYNs(10, web), which an Injector sends by a Link. When Send returns,
// the host under test is done with them.
//
// What the host sends back an Inbox has: Expect takes what a Want means, ExpectNothing says that there is none. TCP,
// UDP and Echo are ends of a conversation that are played step by step:
//
//	inbox := inject.NewInbox(links...)
//	client := inject.NewTCP(inject.New(links[0]), "tun0", inbox, web)
//	err := client.Connect(ctx)
//	…
//	got, err := client.Expect(ctx, inject.Segment{Payload: []byte("hello")}) // an *ExpectationError tells what came instead
//
// A recording in the format pcap or pcapng is read packet by packet by ReadRecording and sent by Replay: what came in where
// it was recorded, or what a rule chooses, by as many links as there are, under other addresses and ports if need be (Remap),
// at once or at the recorded pace:
//
//	inject.Replay{Pace: 1}.Send(ctx, inject.ReadRecording(file), links...)
//
// A Flood is very many packets that differ in addresses and ports, at full speed or at a rate, by several goroutines:
//
//	inject.Flood{
//		Template: inject.SYN(web),
//		Vary:     []inject.Vary{{Field: inject.VarySrcPort, Count: 50_000}, {Field: inject.VarySrc, Count: 100}},
//		N:        1_000_000,
//		Queues:   2,
//	}.Send(ctx, link)
//
// As the host's root, and on veth, xdpflood.Send has the kernel itself make the same packets, two to four times as fast.
//
// The packets of this package are the same bytes on each call: hop limit 64, no options, and in IPv4 the identification
// 0 with Don't Fragment set, as RFC 6864 allows and Linux does for the answers of its own TCP. A call that can only be a
// slip of the programmer, such as a flow from IPv4 to IPv6, panics with a text that begins with "inject: ".
package inject
