package inject_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/pcap"
)

var (
	web = packet.Flow{
		Src: netip.MustParseAddrPort("198.18.0.2:10000"),
		Dst: netip.MustParseAddrPort("192.0.2.1:80"),
	}
	web6 = packet.Flow{
		Src: netip.MustParseAddrPort("[2001:db8::2]:10000"),
		Dst: netip.MustParseAddrPort("[2001:db8::1]:80"),
	}
)

func panicOf(call func()) (text string) {
	defer func() { text = fmt.Sprint(recover()) }()
	call()
	return ""
}

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// frames are what Ethernet carries.
func frames() map[string]packet.Frame {
	a, b := nf.MAC{2, 0, 0, 0, 0, 1}, nf.MAC{2, 0, 0, 0, 0, 2}
	src, dst := ends(web)
	return map[string]packet.Frame{
		"frame":       packet.SYN(web).Frame(a, b),
		"frame ipv6":  packet.SYN(web6).Frame(a, b),
		"vlan":        packet.SYN(web).Frame(a, b).VLAN(5),
		"two vlans":   packet.SYN(web6).Frame(a, b).VLAN(5).VLAN(4095),
		"arp request": packet.ARPRequest(a, src, dst),
		"arp reply":   packet.ARPReply(b, dst, a, src),
	}
}

var serverMAC = nf.MAC{2, 0, 0, 0, 0, 2}

var clientMAC = nf.MAC{2, 0, 0, 0, 0, 1}

// addr returns the addresses of f alone.
func ends(f packet.Flow) (src, dst netip.Addr) { return f.Src.Addr(), f.Dst.Addr() }

// recording returns a pcapng file of packets, one in a millisecond.
func recording(t testing.TB, links []string, packets ...pcap.Packet) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := pcap.NewWriter(&b, pcap.File{Links: links})
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range packets {
		if p.Link == "" {
			p.Link = links[0]
		}
		if p.Dir == pcap.Unknown {
			p.Dir = pcap.In
		}
		p.Time = began.Add(time.Duration(i) * time.Millisecond)
		if err := w.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// began is when the first packet of a test's recording was seen.
var began = time.Unix(1_700_000_000, 0).UTC()

// again is a file that has its last packet so many times more.
type again struct {
	head, packet, rest []byte
	times              int
}

func (a *again) Read(p []byte) (int, error) {
	if a.head != nil {
		a.rest, a.head = a.head, nil
	}
	if len(a.rest) == 0 {
		if a.times--; a.times < 0 {
			return 0, io.EOF
		}
		a.rest = a.packet
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// ethernet returns a pcap file of frames, which it cuts at snap bytes.
func ethernet(t testing.TB, snap int, frames ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := pcapgo.NewWriter(&b)
	if err := w.WriteFileHeader(uint32(snap), layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	for _, f := range frames {
		n := min(snap, len(f))
		err := w.WritePacket(gopacket.CaptureInfo{Timestamp: began, CaptureLength: n, Length: len(f)}, f[:n])
		if err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// kinds returns one packet of each kind, from f's source.
func kinds(f packet.Flow) []kind {
	all := append(segments(f), datagrams(f)...)
	all = append(all, messages(f)...)
	all = append(all, associations(f)...)
	all = append(all, tunnels(f)...)
	if f.Src.Addr().Is4() {
		return append(all, onlyIPv4(f)...)
	}
	return append(all, onlyIPv6(f)...)
}

// kind is one kind of packet that this package builds.
type kind struct {
	name   string
	packet packet.Packet
}

func segments(f packet.Flow) []kind {
	const data = packet.FlagPSH | packet.FlagACK
	options := []packet.TCPOption{
		packet.MSS(1460), packet.SACKPermitted(), packet.Timestamps(1000, 0), packet.NOP(), packet.WindowScale(7),
	}
	sack := []packet.TCPOption{packet.NOP(), packet.NOP(), packet.SACK([2]uint32{10, 20}, [2]uint32{30, 40})}
	return []kind{
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

func datagrams(f packet.Flow) []kind {
	return []kind{
		{"udp", f.UDP([]byte("hello"))},
		{"udp empty", f.UDP(nil)},
		{"udplite", f.UDPLite(0, []byte("hello"))},
		{"udplite header only", f.UDPLite(8, []byte("hello"))},
		{"udplite some", f.UDPLite(11, []byte("hello"))},
	}
}

func messages(f packet.Flow) []kind {
	src, dst := ends(f)
	syn := packet.SYN(f.Reverse()) // errors go back to src's peer
	return []kind{
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

func associations(f packet.Flow) []kind {
	cookie := []byte("cookie")
	all := []kind{
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
		all = append(all, kind{fmt.Sprint("dccp ", t), f.DCCP(m)})
	}
	return all
}

func tunnels(f packet.Flow) []kind {
	inner := web.Reverse().UDP([]byte("hello"))
	ppp := []byte{0xff, 0x03, 0xc0, 0x21, 9, 1, 0, 8, 0, 0, 0, 0} // an LCP echo request
	return []kind{
		{"gre", f.GRE(packet.GRE{Payload: inner})},
		{"gre with all", f.GRE(packet.GRE{Key: new(uint32(5)), Seq: new(uint32(6)), Checksum: true, Payload: inner})},
		{"gre of ipv6", f.GRE(packet.GRE{Payload: packet.SYN(web6)})},
		{"pptp data", f.PPTP(packet.PPTP{CallID: 5, Seq: 1, Ack: new(uint32(2)), Payload: ppp})},
		{"pptp ack", f.PPTP(packet.PPTP{CallID: 5, Ack: new(uint32(2))})},
		{"ip in ip", f.Raw(4, inner)},
		{"any protocol", f.Raw(253, []byte("hello"))},
		{"nothing at all", f.Raw(59, nil)},
	}
}

func onlyIPv4(f packet.Flow) []kind {
	src, _ := ends(f)
	group, all := netip.MustParseAddr("239.1.2.3"), netip.IPv4Unspecified()
	return []kind{
		{"igmp query", packet.IGMP(src, packet.IGMPQuery, all)},
		{"igmp query of a group", packet.IGMP(src, packet.IGMPQuery, group)},
		{"igmp report", packet.IGMP(src, packet.IGMPReport, group)},
		{"igmp leave", packet.IGMP(src, packet.IGMPLeave, group)},
		{"igmp v3 report", packet.IGMP(src, packet.IGMPv3Report, group)},
		{"ip options", packet.SYN(f).With(packet.IPOptions(packet.RouterAlert()))},
		{"udp without checksum", f.UDP([]byte("hello")).With(packet.Checksum(0))},
	}
}

func onlyIPv6(f packet.Flow) []kind {
	icv := make([]byte, 12)
	return []kind{
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

// checkSums returns an error for a whole packet with a wrong checksum or length, calculated from RFC 1071 and 8200
// without the help of the code under test. It knows packets without extension headers.
func checkSums(p packet.Packet) error {
	var pseudo, body []byte
	var proto nf.Proto
	switch p[0] >> 4 {
	case 4:
		header := int(p[0]&15) * 4
		if n := int(binary.BigEndian.Uint16(p[2:])); n != len(p) {
			return fmt.Errorf("IPv4 length %d of %d bytes", n, len(p))
		}
		if s := sum(p[:header]); s != 0xffff {
			return fmt.Errorf("IPv4 header sums up to %#x", s)
		}
		pseudo, proto, body = p[12:20], nf.Proto(p[9]), p[header:]
	case 6:
		if n := int(binary.BigEndian.Uint16(p[4:])); n != len(p)-40 {
			return fmt.Errorf("IPv6 length %d of %d bytes", n, len(p)-40)
		}
		pseudo, proto, body = p[8:40], nf.Proto(p[6]), p[40:]
	}
	pseudo = append([]byte{}, pseudo...)
	switch proto {
	case nf.ICMP:
		pseudo = nil
	case nf.TCP, nf.UDP, nf.ICMPv6:
		pseudo = append(pseudo, 0, byte(proto))
		pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(body)))
	default:
		return nil
	}
	if proto == nf.UDP {
		if n := int(binary.BigEndian.Uint16(body[4:])); n != len(body) {
			return fmt.Errorf("UDP length %d of %d bytes", n, len(body))
		}
		if binary.BigEndian.Uint16(body[6:]) == 0 {
			return fmt.Errorf("UDP has no checksum")
		}
	}
	if s := sum(append(pseudo, body...)); s != 0xffff {
		return fmt.Errorf("%v sums up to %#x", proto, s)
	}
	return nil
}

// sum is the sum in ones' complement of the 16-bit words of b.
func sum(b []byte) uint32 {
	var s uint32
	for ; len(b) > 1; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return s
}

// isWhole reports whether checkSums knows such packets.
func isWhole(p packet.Packet) bool {
	if p[0]>>4 == 4 {
		return len(p) >= 40 && p[0]&15 >= 5 && int(p[0]&15)*4+20 <= len(p) && p[6]&0x3f == 0 && p[7] == 0
	}
	return len(p) >= 60 && p[6] == byte(nf.TCP)
}
