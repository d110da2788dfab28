package inject_test

import (
	"fmt"
	"net/netip"

	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// kind is one kind of packet that this package builds.
type kind struct {
	name   string
	packet inject.Packet
}

// addr returns the addresses of f alone.
func ends(f inject.Flow) (src, dst netip.Addr) { return f.Src.Addr(), f.Dst.Addr() }

// kinds returns one packet of each kind, from f's source.
func kinds(f inject.Flow) []kind {
	all := append(segments(f), datagrams(f)...)
	all = append(all, messages(f)...)
	all = append(all, associations(f)...)
	all = append(all, tunnels(f)...)
	if f.Src.Addr().Is4() {
		return append(all, onlyIPv4(f)...)
	}
	return append(all, onlyIPv6(f)...)
}

func segments(f inject.Flow) []kind {
	const data = inject.FlagPSH | inject.FlagACK
	options := []layers.TCPOption{
		inject.MSS(1460), inject.SACKPermitted(), inject.Timestamps(1000, 0), inject.NOP(), inject.WindowScale(7),
	}
	sack := []layers.TCPOption{inject.NOP(), inject.NOP(), inject.SACK([2]uint32{10, 20}, [2]uint32{30, 40})}
	return []kind{
		{"tcp syn", f.TCP(inject.TCP{Flags: inject.FlagSYN, Seq: 1, Options: options})},
		{"tcp syn+ack", inject.SYNACK(f)},
		{"tcp ack with sack", f.TCP(inject.TCP{Flags: inject.FlagACK, Seq: 2, Ack: 2, Options: sack})},
		{"tcp data", f.TCP(inject.TCP{Flags: data, Seq: 2, Ack: 2, Payload: []byte("hello")})},
		{"tcp urgent", f.TCP(inject.TCP{Flags: data | inject.FlagURG, Seq: 2, Ack: 2, Urgent: 1, Payload: []byte("hello")})},
		{"tcp ecn", f.TCP(inject.TCP{Flags: inject.FlagSYN | inject.FlagECE | inject.FlagCWR, Seq: 1})},
		{"tcp fin", inject.FIN(f)},
		{"tcp rst", inject.RST(f)},
		{"tcp closed window", inject.ACK(f).With(inject.Window(0))},
	}
}

func datagrams(f inject.Flow) []kind {
	return []kind{
		{"udp", f.UDP([]byte("hello"))},
		{"udp empty", f.UDP(nil)},
		{"udplite", f.UDPLite(0, []byte("hello"))},
		{"udplite header only", f.UDPLite(8, []byte("hello"))},
		{"udplite some", f.UDPLite(11, []byte("hello"))},
	}
}

func messages(f inject.Flow) []kind {
	src, dst := ends(f)
	syn := inject.SYN(f.Reverse()) // errors go back to src's peer
	return []kind{
		{"echo", inject.Echo(src, dst, 1, 2, []byte("ping!"))},
		{"echo reply", inject.EchoReply(src, dst, 1, 2, []byte("ping!"))},
		{"unreachable", inject.Unreachable(src, 1, syn)},
		{"too big", inject.PacketTooBig(src, 1280, syn)},
		{"time exceeded", inject.TimeExceeded(src, syn)},
		{"parameter problem", inject.ParameterProblem(src, 8, syn)},
		{"redirect", inject.Redirect(src, f.Src.Addr(), syn)},
		{"about a large one", inject.Unreachable(src, 0, f.Reverse().UDP(make([]byte, 1400)))},
	}
}

func associations(f inject.Flow) []kind {
	cookie := []byte("cookie")
	all := []kind{
		{"sctp init", f.SCTP(0, inject.SCTPInit(1, 100))},
		{"sctp init ack", f.SCTP(1, inject.SCTPInitAck(2, 200, cookie))},
		{"sctp cookie echo, data", f.SCTP(2, inject.SCTPCookieEcho(cookie), inject.SCTPData(100, 0, 0, []byte("hello")))},
		{"sctp cookie ack, sack", f.SCTP(1, inject.SCTPCookieAck(), inject.SCTPSack(100))},
		{"sctp heartbeat", f.SCTP(2, inject.SCTPHeartbeat([]byte("info")))},
		{"sctp heartbeat ack", f.SCTP(2, inject.SCTPHeartbeatAck([]byte("info")))},
		{"sctp shutdown", f.SCTP(2, inject.SCTPShutdown(200))},
		{"sctp shutdown ack", f.SCTP(2, inject.SCTPShutdownAck())},
		{"sctp shutdown complete", f.SCTP(2, inject.SCTPShutdownComplete())},
		{"sctp abort", f.SCTP(2, inject.SCTPAbort())},
	}
	for t := inject.DCCPRequest; t <= inject.DCCPSyncAck; t++ {
		m := inject.DCCP{Type: t, Seq: 1 << 40, Ack: 5, Service: 42, ResetCode: 2}
		if t == inject.DCCPData || t == inject.DCCPDataAck {
			m.Payload = []byte("hello")
		}
		all = append(all, kind{fmt.Sprint("dccp ", t), f.DCCP(m)})
	}
	return all
}

func tunnels(f inject.Flow) []kind {
	inner := web.Reverse().UDP([]byte("hello"))
	ppp := []byte{0xff, 0x03, 0xc0, 0x21, 9, 1, 0, 8, 0, 0, 0, 0} // an LCP echo request
	return []kind{
		{"gre", f.GRE(inject.GRE{Payload: inner})},
		{"gre with all", f.GRE(inject.GRE{Key: new(uint32(5)), Seq: new(uint32(6)), Checksum: true, Payload: inner})},
		{"gre of ipv6", f.GRE(inject.GRE{Payload: inject.SYN(web6)})},
		{"pptp data", f.PPTP(inject.PPTP{CallID: 5, Seq: 1, Ack: new(uint32(2)), Payload: ppp})},
		{"pptp ack", f.PPTP(inject.PPTP{CallID: 5, Ack: new(uint32(2))})},
		{"ip in ip", f.Raw(4, inner)},
		{"any protocol", f.Raw(253, []byte("hello"))},
		{"nothing at all", f.Raw(59, nil)},
	}
}

func onlyIPv4(f inject.Flow) []kind {
	src, _ := ends(f)
	group, all := netip.MustParseAddr("239.1.2.3"), netip.IPv4Unspecified()
	return []kind{
		{"igmp query", inject.IGMP(src, inject.IGMPQuery, all)},
		{"igmp query of a group", inject.IGMP(src, inject.IGMPQuery, group)},
		{"igmp report", inject.IGMP(src, inject.IGMPReport, group)},
		{"igmp leave", inject.IGMP(src, inject.IGMPLeave, group)},
		{"igmp v3 report", inject.IGMP(src, inject.IGMPv3Report, group)},
		{"ip options", inject.SYN(f).With(inject.IPOptions(inject.RouterAlert()))},
		{"udp without checksum", f.UDP([]byte("hello")).With(inject.Checksum(0))},
	}
}

func onlyIPv6(f inject.Flow) []kind {
	icv := make([]byte, 12)
	return []kind{
		{"hop-by-hop", f.UDP([]byte("hello")).With(inject.HopByHop())},
		{"hop-by-hop router alert", inject.SYN(f).With(inject.HopByHop(5, 2, 0, 0))},
		{"destination options", inject.SYN(f).With(inject.DestinationOptions())},
		{"routing", inject.SYN(f).With(inject.Routing(4, 0, append(make([]byte, 4), f.Dst.Addr().AsSlice()...)...))},
		{"ah", inject.SYN(f).With(inject.AH(1, 2, icv...))},
		{"all of them", f.UDP([]byte("hello")).With(inject.DestinationOptions(1, 8, 0, 0, 0, 0, 0, 0, 0, 0),
			inject.HopByHop(0, 0, 0, 0, 0), inject.AH(1, 2, icv...))},
		{"flow label", inject.SYN(f).With(inject.FlowLabel(0xabcde))},
	}
}

// frames are what Ethernet carries.
func frames() map[string]inject.Frame {
	a, b := nf.MAC{2, 0, 0, 0, 0, 1}, nf.MAC{2, 0, 0, 0, 0, 2}
	src, dst := ends(web)
	return map[string]inject.Frame{
		"frame":       inject.SYN(web).Frame(a, b),
		"frame ipv6":  inject.SYN(web6).Frame(a, b),
		"vlan":        inject.SYN(web).Frame(a, b).VLAN(5),
		"two vlans":   inject.SYN(web6).Frame(a, b).VLAN(5).VLAN(4095),
		"arp request": inject.ARPRequest(a, src, dst),
		"arp reply":   inject.ARPReply(b, dst, a, src),
	}
}
