// Package packettest has packets, frames and recordings for the tests of several packages.
package packettest

import (
	"fmt"
	"net/netip"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Web and Web6 are the flows of a client that visits a server.
var (
	Web = packet.Flow{
		Src: netip.MustParseAddrPort("198.18.0.2:10000"),
		Dst: netip.MustParseAddrPort("192.0.2.1:80"),
	}
	Web6 = packet.Flow{
		Src: netip.MustParseAddrPort("[2001:db8::2]:10000"),
		Dst: netip.MustParseAddrPort("[2001:db8::1]:80"),
	}
)

// ClientMAC and ServerMAC are their addresses of Ethernet.
var (
	ClientMAC = nf.MAC{2, 0, 0, 0, 0, 1}
	ServerMAC = nf.MAC{2, 0, 0, 0, 0, 2}
)

// PanicOf returns what a call panics with; "<nil>" if it does not.
func PanicOf(call func()) (text string) {
	defer func() { text = fmt.Sprint(recover()) }()
	call()
	return ""
}

// Kind is one kind of packet that package packet builds.
type Kind struct {
	Name   string
	Packet packet.Packet
}

// ends returns the addresses of f.
func ends(f packet.Flow) (src, dst netip.Addr) { return f.Src.Addr(), f.Dst.Addr() }

// Kinds returns one packet of each kind, from f's source.
func Kinds(f packet.Flow) []Kind {
	all := append(segments(f), datagrams(f)...)
	all = append(all, messages(f)...)
	all = append(all, associations(f)...)
	all = append(all, tunnels(f)...)
	if f.Src.Addr().Is4() {
		return append(all, onlyIPv4(f)...)
	}
	return append(all, onlyIPv6(f)...)
}

func segments(f packet.Flow) []Kind {
	const data = packet.FlagPSH | packet.FlagACK
	options := []packet.TCPOption{
		packet.MSS(1460), packet.SACKPermitted(), packet.Timestamps(1000, 0), packet.NOP(), packet.WindowScale(7),
	}
	sack := []packet.TCPOption{packet.NOP(), packet.NOP(), packet.SACK([2]uint32{10, 20}, [2]uint32{30, 40})}
	return []Kind{
		{"tcp syn", f.TCP(packet.TCP{Flags: packet.FlagSYN, Seq: 1, Options: options})},
		{"tcp syn+ack", packet.SYNACK(f)},
		{"tcp ack with sack", f.TCP(packet.TCP{Flags: packet.FlagACK, Seq: 2, Ack: 2, Options: sack})},
		{"tcp data", f.TCP(packet.TCP{Flags: data, Seq: 2, Ack: 2, Payload: []byte("hello")})},
		{"tcp urgent", f.TCP(packet.TCP{Flags: data | packet.FlagURG, Seq: 2, Ack: 2, Urgent: 1, Payload: []byte("hello")})},
		{"tcp ecn", f.TCP(packet.TCP{Flags: packet.FlagSYN | packet.FlagECE | packet.FlagCWR, Seq: 1})},
		{"tcp fin", packet.FIN(f)},
		{"tcp rst", packet.RST(f)},
		{"tcp closed window", packet.ACK(f).With(packet.Window(0))},
	}
}

func datagrams(f packet.Flow) []Kind {
	return []Kind{
		{"udp", f.UDP([]byte("hello"))},
		{"udp empty", f.UDP(nil)},
		{"udplite", f.UDPLite(0, []byte("hello"))},
		{"udplite header only", f.UDPLite(8, []byte("hello"))},
		{"udplite some", f.UDPLite(11, []byte("hello"))},
	}
}

func messages(f packet.Flow) []Kind {
	src, dst := ends(f)
	syn := packet.SYN(f.Reverse()) // errors go back to src's peer
	return []Kind{
		{"echo", packet.Echo(src, dst, 1, 2, []byte("ping!"))},
		{"echo reply", packet.EchoReply(src, dst, 1, 2, []byte("ping!"))},
		{"unreachable", packet.Unreachable(src, 1, syn)},
		{"too big", packet.PacketTooBig(src, 1280, syn)},
		{"time exceeded", packet.TimeExceeded(src, syn)},
		{"parameter problem", packet.ParameterProblem(src, 8, syn)},
		{"redirect", packet.Redirect(src, f.Src.Addr(), syn)},
		{"about a large one", packet.Unreachable(src, 0, f.Reverse().UDP(make([]byte, 1400)))},
	}
}

func associations(f packet.Flow) []Kind {
	cookie := []byte("cookie")
	all := []Kind{
		{"sctp init", f.SCTP(0, packet.SCTPInit(1, 100))},
		{"sctp init ack", f.SCTP(1, packet.SCTPInitAck(2, 200, cookie))},
		{"sctp cookie echo, data", f.SCTP(2, packet.SCTPCookieEcho(cookie), packet.SCTPData(100, 0, 0, []byte("hello")))},
		{"sctp cookie ack, sack", f.SCTP(1, packet.SCTPCookieAck(), packet.SCTPSack(100))},
		{"sctp heartbeat", f.SCTP(2, packet.SCTPHeartbeat([]byte("info")))},
		{"sctp heartbeat ack", f.SCTP(2, packet.SCTPHeartbeatAck([]byte("info")))},
		{"sctp shutdown", f.SCTP(2, packet.SCTPShutdown(200))},
		{"sctp shutdown ack", f.SCTP(2, packet.SCTPShutdownAck())},
		{"sctp shutdown complete", f.SCTP(2, packet.SCTPShutdownComplete())},
		{"sctp abort", f.SCTP(2, packet.SCTPAbort())},
	}
	for t := packet.DCCPRequest; t <= packet.DCCPSyncAck; t++ {
		m := packet.DCCP{Type: t, Seq: 1 << 40, Ack: 5, Service: 42, ResetCode: 2}
		if t == packet.DCCPData || t == packet.DCCPDataAck {
			m.Payload = []byte("hello")
		}
		all = append(all, Kind{fmt.Sprint("dccp ", t), f.DCCP(m)})
	}
	return all
}

func tunnels(f packet.Flow) []Kind {
	inner := Web.Reverse().UDP([]byte("hello"))
	ppp := []byte{0xff, 0x03, 0xc0, 0x21, 9, 1, 0, 8, 0, 0, 0, 0} // an LCP echo request
	return []Kind{
		{"gre", f.GRE(packet.GRE{Payload: inner})},
		{"gre with all", f.GRE(packet.GRE{Key: new(uint32(5)), Seq: new(uint32(6)), Checksum: true, Payload: inner})},
		{"gre of ipv6", f.GRE(packet.GRE{Payload: packet.SYN(Web6)})},
		{"pptp data", f.PPTP(packet.PPTP{CallID: 5, Seq: 1, Ack: new(uint32(2)), Payload: ppp})},
		{"pptp ack", f.PPTP(packet.PPTP{CallID: 5, Ack: new(uint32(2))})},
		{"ip in ip", f.Raw(4, inner)},
		{"any protocol", f.Raw(253, []byte("hello"))},
		{"nothing at all", f.Raw(59, nil)},
	}
}

func onlyIPv4(f packet.Flow) []Kind {
	src, _ := ends(f)
	group, all := netip.MustParseAddr("239.1.2.3"), netip.IPv4Unspecified()
	return []Kind{
		{"igmp query", packet.IGMP(src, packet.IGMPQuery, all)},
		{"igmp query of a group", packet.IGMP(src, packet.IGMPQuery, group)},
		{"igmp report", packet.IGMP(src, packet.IGMPReport, group)},
		{"igmp leave", packet.IGMP(src, packet.IGMPLeave, group)},
		{"igmp v3 report", packet.IGMP(src, packet.IGMPv3Report, group)},
		{"ip options", packet.SYN(f).With(packet.IPOptions(packet.RouterAlert()))},
		{"udp without checksum", f.UDP([]byte("hello")).With(packet.Checksum(0))},
	}
}

func onlyIPv6(f packet.Flow) []Kind {
	icv := make([]byte, 12)
	return []Kind{
		{"hop-by-hop", f.UDP([]byte("hello")).With(packet.HopByHop())},
		{"hop-by-hop router alert", packet.SYN(f).With(packet.HopByHop(5, 2, 0, 0))},
		{"destination options", packet.SYN(f).With(packet.DestinationOptions())},
		{"routing", packet.SYN(f).With(packet.Routing(4, 0, append(make([]byte, 4), f.Dst.Addr().AsSlice()...)...))},
		{"ah", packet.SYN(f).With(packet.AH(1, 2, icv...))},
		{"all of them", f.UDP([]byte("hello")).With(packet.DestinationOptions(1, 8, 0, 0, 0, 0, 0, 0, 0, 0),
			packet.HopByHop(0, 0, 0, 0, 0), packet.AH(1, 2, icv...))},
		{"flow label", packet.SYN(f).With(packet.FlowLabel(0xabcde))},
	}
}

// Frames are what Ethernet carries.
func Frames() map[string]packet.Frame {
	a, b := ClientMAC, ServerMAC
	src, dst := ends(Web)
	return map[string]packet.Frame{
		"frame":       packet.SYN(Web).Frame(a, b),
		"frame ipv6":  packet.SYN(Web6).Frame(a, b),
		"vlan":        packet.SYN(Web).Frame(a, b).VLAN(5),
		"two vlans":   packet.SYN(Web6).Frame(a, b).VLAN(5).VLAN(4095),
		"arp request": packet.ARPRequest(a, src, dst),
		"arp reply":   packet.ARPReply(b, dst, a, src),
	}
}
