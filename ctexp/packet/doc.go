// Package packet has packets as plain values. A Packet is bytes from the network layer on, a Match says which packets are meant,
// and a Record is a packet that was seen on a link: captured, recorded in a file, or sent by the host under test.
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
// Likewise SCTP with its chunks, UDPLite, DCCP, GRE, PPTP and, with any protocol number, Raw; Echo, IGMP, and the errors of
// ICMP about a packet: Unreachable, PacketTooBig, TimeExceeded and so on, for both families. Many packets are an
// iter.Seq[Packet], such as SYNs(10, web).
//
// One packet is made of another by With, which keeps lengths and checksums right, or makes them wrong where it is told to:
//
//	syn := packet.SYN(web)
//	syn.With(packet.TTL(1), packet.Options(packet.MSS(1460), packet.WindowScale(7)))
//	syn.With(packet.HeaderChecksum(0xbad))
//	packet.SYN(web6).With(packet.HopByHop(), packet.DestinationOptions())
//
// Fragments cuts one at an MTU, Fragment takes any piece of it, so that pieces can overlap or be missing. String is a line
// in the manner of tcpdump, Fields all that is in a packet, and Diff compares two of them field by field. A Frame is a
// packet with its header of Ethernet: Packet.Frame, Frame.VLAN, ARPRequest.
//
// ReadRecording reads the Records of a pcap or pcapng file; those that an Observer captures and an Inbox returns are the same
// type. A Match selects some of them, and says what is expected:
//
//	answers := packet.Match{Out: "tun0", Proto: nf.TCP, Flags: packet.FlagSYN | packet.FlagACK}
//	answers.Select(x.Frames())
//	x.Expect(answers)
//
// The packets of this package are the same bytes on each call: hop limit 64, no options, and in IPv4 the identification
// 0 with Don't Fragment set, as RFC 6864 allows and Linux does for the answers of its own TCP. A call that can only be a
// mistake of the programmer, such as a flow from IPv4 to IPv6, panics with a text that begins with "packet: ".
package packet
