// Package packet represents packets as plain values. A Packet is the bytes of a packet from its IP header on, a Match selects
// packets, and a Record is a packet seen on a link: captured, read from a file, or received from the host under test.
//
// A Flow makes the usual packets, and Build any that gopacket has layers for (github.com/google/gopacket/layers):
//
//	web := packet.Flow{
//		Src: netip.MustParseAddrPort("198.18.0.2:10000"),
//		Dst: netip.MustParseAddrPort("192.0.2.1:80"),
//	}
//	packet.SYN(web)
//	web.UDP([]byte("hello"))
//	web.Reverse().TCP(packet.TCP{Flags: packet.FlagSYN | packet.FlagACK, Seq: 1, Ack: 2})
//
// Flow also builds SCTP with its chunks, UDPLite, DCCP, GRE, PPTP and, for any protocol number, Raw. Functions build Echo,
// IGMP, and the ICMP errors about a packet: Unreachable, PacketTooBig, TimeExceeded and so on, for both families. Sequences
// of packets are an iter.Seq[Packet], such as SYNs(10, web).
//
// With returns a changed copy of a packet. It keeps lengths and checksums correct, unless a change sets them:
//
//	syn := packet.SYN(web)
//	syn.With(packet.TTL(1), packet.Options(packet.MSS(1460), packet.WindowScale(7)))
//	syn.With(packet.HeaderChecksum(0xbad))
//	packet.SYN(web6).With(packet.HopByHop(), packet.DestinationOptions())
//
// Fragments splits a packet at an MTU; Fragment returns any piece of it, so that fragments can overlap or be missing. String
// returns a line like tcpdump's, Fields all fields of a packet, and Diff compares two packets field by field. A Frame is a
// packet with its Ethernet header: Packet.Frame, Frame.VLAN, ARPRequest.
//
// ReadRecording reads the Records of a pcap or pcapng file; an Observer and an Inbox return the same type. A Match selects
// Records, and describes an expected packet:
//
//	answers := packet.Match{Out: "tun0", Proto: nf.TCP, Flags: packet.FlagSYN | packet.FlagACK}
//	answers.Select(x.Frames())
//	x.Expect(answers)
//
// The builders return the same bytes on each call: hop limit 64, no options, and in IPv4 identification 0 with Don't
// Fragment set, as RFC 6864 allows and Linux does for the SYN+ACK of its own TCP. A call that can only be a programming
// error, such as a flow from IPv4 to IPv6, panics with a message that begins with "packet: ".
package packet
