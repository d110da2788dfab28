// Package inject builds packets and sends them into a namespace under test.
//
// A Packet is bytes from the network layer on. Flow makes the usual ones, Build any that gopacket has layers for:
//
//	web := inject.Flow{
//		Src: netip.MustParseAddrPort("198.18.0.2:10000"),
//		Dst: netip.MustParseAddrPort("192.0.2.1:80"),
//	}
//	inject.SYN(web)
//	web.UDP([]byte("hello"))
//	web.Reverse().TCP(inject.TCP{Flags: inject.FlagSYN | inject.FlagACK, Seq: 1, Ack: 2})
//
// Many packets are an iter.Seq[Packet], such as SYNs(10, web), which an Injector sends by a Link. When Send returns,
// the host under test is done with them.
//
// The packets of this package are the same bytes on each call: hop limit 64, no options, and in IPv4 the identification
// 0 with Don't Fragment set, as RFC 6864 allows and Linux does for the answers of its own TCP. A call that can only be a
// slip of the programmer, such as a flow from IPv4 to IPv6, panics with a text that begins with "inject: ".
package inject
