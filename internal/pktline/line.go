package pktline

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// Format returns a line about the packet b, which begins at the network layer:
//
//	IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0
//
// It differs from tcpdump where experiments need more: there is always a sequence number, an ICMP error shows the
// packet that it quotes, and addresses and ports are never resolved. The length is the one in the headers. If the
// packet is truncated, the line has the number of missing bytes.
func Format(b []byte) string { return format(b, nesting{}) }

// nesting describes what a packet is nested in.
type nesting struct {
	quoted bool // quoted by an ICMP error, which may truncate it
	depth  int  // number of enclosing packets
}

// maxDepth is the number of nested packets that are shown.
const maxDepth = 3

// inner formats a packet that the one described by in carries or quotes.
func inner(b []byte, in nesting) string {
	if in.depth++; in.depth > maxDepth {
		return "…"
	}
	return format(b, in)
}

// format formats a packet.
func format(b []byte, in nesting) string {
	h, ok := parse(b)
	if !ok {
		return h.fault
	}
	return fmt.Sprintf("%s %s > %s: %s", h.name, h.endpoint(h.src, 0), h.endpoint(h.dst, 2), h.text(in))
}

// text formats the part of the line behind the addresses.
func (h packet) text(in nesting) string {
	var w strings.Builder
	switch {
	case h.body == nil:
		return h.fault
	case h.Fault != header.NoFault:
		w.WriteString(h.words + protoName(h.proto))
	default:
		w.WriteString(h.words + h.transport(in))
	}
	if h.frag != "" {
		w.WriteString(" " + h.frag)
	}
	if h.fault != "" {
		w.WriteString(", " + h.fault)
	}
	if missing := h.size - len(h.body); missing > 0 && !in.quoted {
		fmt.Fprintf(&w, ", %d bytes missing", missing)
	}
	return w.String()
}

// Words returns the part of a packet's line behind its addresses, in two parts: the kind of packet, such as "SYN+ACK",
// "UDP" or "ICMP echo request", and the rest, such as "seq 1, win 65535, length 0". For a packet without addresses, what
// is the whole line.
func Words(typ uint16, b []byte) (what, rest string) {
	if typ != header.EtherTypeIPv4 && typ != header.EtherTypeIPv6 {
		return FormatAs(typ, b), ""
	}
	h, ok := parse(b)
	if !ok {
		return h.fault, ""
	}
	text, prefix := h.text(nesting{}), ""
	if of, ok := strings.CutPrefix(text, "ICMP6, "); ok {
		prefix, text = "ICMP6 ", of
	}
	what, rest, _ = strings.Cut(text, ", ")
	if before, about, ok := strings.Cut(text, " for ("); ok && len(before) < len(what) {
		what, rest = before, "for ("+about
	}
	if h.isTCP() {
		what = flagNames(h.body[13])
	}
	return prefix + what, rest
}

// flagNames returns the names of TCP flags: "SYN+ACK".
func flagNames(bits uint8) string {
	var s []string
	for i, name := range [...]string{"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"} {
		if bits&(1<<i) != 0 {
			s = append(s, name)
		}
	}
	if s == nil {
		return "TCP without flags"
	}
	return strings.Join(s, "+")
}

// endpoint formats an address and, if the packet has ports, the port at this offset of the transport header.
func (h packet) endpoint(a netip.Addr, offset int) string {
	if !h.proto.HasPorts() || h.Fault != header.NoFault || len(h.body) < offset+2 {
		return a.String()
	}
	return fmt.Sprintf("%v.%d", a, binary.BigEndian.Uint16(h.body[offset:]))
}

// transport formats what follows the network-layer headers.
func (h packet) transport(in nesting) string {
	switch h.proto {
	case nf.TCP:
		return h.tcp()
	case nf.UDP:
		return h.udp()
	case nf.UDPLite:
		return h.udplite()
	case nf.ICMP:
		return h.icmp(in)
	case nf.ICMPv6:
		return h.icmp6(in)
	case nf.SCTP:
		return h.sctp()
	case nf.DCCP:
		return h.dccp()
	case nf.GRE:
		return h.gre(in)
	case header.ProtoIGMP:
		return h.igmp()
	case header.ProtoIPIP, header.ProtoIPv6:
		if len(h.body) > 0 {
			return inner(h.body, in)
		}
	}
	return fmt.Sprintf("%s, length %d", protoName(h.proto), h.size)
}

// protoName returns the protocol's name as in /etc/protocols, in lower case, or tcpdump's "ip-proto-N".
func protoName(p nf.Proto) string {
	switch p {
	case nf.ICMP, nf.TCP, nf.UDP, nf.DCCP, nf.GRE, nf.ICMPv6, nf.SCTP, nf.UDPLite:
		return p.String()
	case header.ProtoHopByHop:
		return "hopopt"
	case header.ProtoIGMP:
		return "igmp"
	case header.ProtoIPIP:
		return "ipip"
	case header.ProtoIPv6:
		return "ipv6"
	case header.ProtoRouting:
		return "ipv6-route"
	case header.ProtoFragment:
		return "ipv6-frag"
	case 50:
		return "esp"
	case header.ProtoAH:
		return "ah"
	case header.ProtoNoNext:
		return "no next header"
	case header.ProtoDestination:
		return "ipv6-opts"
	case 89:
		return "ospf"
	case 112:
		return "vrrp"
	}
	return fmt.Sprintf("ip-proto-%d", uint8(p))
}

// ProtoNamed returns the protocol that a line shows by that name.
func ProtoNamed(name string) (p uint8, ok bool) {
	for p := range 256 {
		if protoName(nf.Proto(p)) == name {
			return uint8(p), true
		}
	}
	return 0, false
}

// packet is a packet with its network layer decoded.
type packet struct {
	header.View
	name     string // "IP" or "IP6"
	src, dst netip.Addr
	proto    nf.Proto
	body     []byte // what follows the network-layer headers; nil if it cannot be located
	size     int    // size of the body according to the headers; more than len(body) if the packet is truncated
	frag     string // "(frag 7:1480@0+)": ID, size, offset, more fragments
	words    string // names of the IPv6 extension headers, each followed by a space
	fault    string // what is wrong with the headers
}

// parse reads the network-layer headers. If there are no addresses, ok is false and only fault is set.
func parse(b []byte) (h packet, ok bool) {
	v := header.Parse(b)
	h = packet{View: v, name: "IP", proto: nf.Proto(v.Proto), size: v.Size()}
	if v.Version == 6 {
		h.name = "IP6"
	}
	if v.HasAddrs() {
		h.src, h.dst = v.Src(b), v.Dst(b)
	}
	switch v.Fault {
	case header.Empty:
		h.fault = "empty packet"
	case header.BadVersion:
		h.fault = fmt.Sprintf("IP version %d, %d bytes: % x", header.Version(b), len(b), b[:min(len(b), 16)])
	case header.CutHeader:
		h.fault = fmt.Sprintf("%s header cut after %d bytes", h.name, len(b))
	case header.BadHeaderLength:
		h.fault = fmt.Sprintf("bad header length %d", v.Header)
	case header.CutOptions:
		h.fault = fmt.Sprintf("header cut after %d of %d bytes", len(b), v.Header)
	case header.BadLength:
		h.fault = fmt.Sprintf("bad length %d", v.Length)
	default:
		h.parts(b)
	}
	return h, v.HasAddrs()
}

// parts reads the rest of the network-layer headers.
func (h *packet) parts(b []byte) {
	h.body = b[h.Transport:h.End:h.End]
	for e := range h.Extensions(b) {
		h.words += extensionWords[e.Proto]
	}
	switch {
	case h.Fault == header.CutExtension:
		h.fault = "extension header cut"
	case h.Version == 4 && h.Header > header.IPv4Size && new(layers.IPv4).DecodeFromBytes(b, gopacket.NilDecodeFeedback) != nil:
		h.fault = "bad IP options" // gopacket's other errors about the header are Faults
	}
	at := h.Header // offset of the fragment's data
	switch {
	case h.Fragment > 0:
		at = h.Fragment + header.FragmentSize
	case !h.IsFragment():
		return
	}
	plus := ""
	if h.More {
		plus = "+"
	}
	h.frag = fmt.Sprintf("(frag %d:%d@%d%s)", h.FragID, h.size+h.Transport-at, h.FragOffset, plus)
}

// extensionWords are tcpdump's names of extension headers. A fragment header is shown at the end of the line.
var extensionWords = map[uint8]string{
	header.ProtoHopByHop: "HBH ", header.ProtoRouting: "RT ", header.ProtoDestination: "DSTOPT ", header.ProtoAH: "AH ",
}

// addr returns the address in b, which has 4 or 16 bytes.
func addr(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a
}

// FormatFrame returns a line about the Ethernet frame b:
//
//	02:00:00:00:00:02 > 02:00:00:00:00:01, vlan 5, IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], …
func FormatFrame(b []byte) string {
	if len(b) < header.EthernetSize {
		return fmt.Sprintf("Ethernet header cut after %d bytes", len(b))
	}
	line := fmt.Sprintf("%v > %v, ", nf.MAC(b[6:]), nf.MAC(b))
	f := header.ParseFrame(b)
	for _, id := range f.VLANs(b) {
		line += fmt.Sprintf("vlan %d, ", id)
	}
	if f.Cut {
		return line + "vlan tag cut"
	}
	return line + FormatAs(f.EtherType, b[f.Payload:])
}

// FormatAs returns a line about b, the payload of a frame with this EtherType.
func FormatAs(typ uint16, b []byte) string {
	switch {
	case typ == header.EtherTypeIPv4 || typ == header.EtherTypeIPv6:
		return Format(b)
	case typ == header.EtherTypeARP:
		return arp(b)
	case typ < header.MinEtherType: // IEEE 802.3
		return fmt.Sprintf("802.3, length %d", typ)
	}
	return fmt.Sprintf("ethertype 0x%04x, length %d", typ, len(b))
}

// arp formats an ARP packet for Ethernet and IPv4.
func arp(b []byte) string {
	if len(b) < 28 {
		return fmt.Sprintf("ARP cut after %d bytes", len(b))
	}
	if binary.BigEndian.Uint32(b) != 1<<16|header.EtherTypeIPv4 || binary.BigEndian.Uint16(b[4:]) != 6<<8|4 {
		return fmt.Sprintf("ARP of other kinds of addresses, length %d", len(b))
	}
	sender, target := addr(b[14:18]), addr(b[24:28])
	switch op := binary.BigEndian.Uint16(b[6:]); op {
	case 1:
		return fmt.Sprintf("ARP, who has %v tell %v, length %d", target, sender, len(b))
	case 2:
		return fmt.Sprintf("ARP, %v is at %v, length %d", sender, nf.MAC(b[8:]), len(b))
	default:
		return fmt.Sprintf("ARP, operation %d, length %d", op, len(b))
	}
}

// Decode returns the layers of the packet b, which begins at the network layer. It copies b and never panics. The
// result's ErrorLayer has what cannot be decoded.
func Decode(b []byte) gopacket.Packet {
	first := gopacket.Decoder(gopacket.DecodeFunc(decodeUnknown))
	switch header.Version(b) {
	case 4:
		first = layers.LayerTypeIPv4
	case 6:
		first = layers.LayerTypeIPv6
	}
	return gopacket.NewPacket(b, first, gopacket.Default)
}

func decodeUnknown(b []byte, _ gopacket.PacketBuilder) error {
	if len(b) == 0 {
		return fmt.Errorf("empty packet")
	}
	return fmt.Errorf("IP version %d is neither 4 nor 6", header.Version(b))
}
