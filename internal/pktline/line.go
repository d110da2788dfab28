package pktline

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// Format returns one line about the packet b, which begins at the network layer:
//
//	IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0
//
// It differs from tcpdump where an experiment asks for more: the sequence number is always there, an ICMP error quotes
// the packet that it is about, and addresses and ports are never given names. The length is the one that the headers
// claim; bytes that are not there are said to be missing.
func Format(b []byte) string { return format(b, nesting{}) }

// nesting says within what a packet stands.
type nesting struct {
	quoted bool // an ICMP error quotes it, so that its end may be missing
	depth  int  // number of packets around it
}

// maxDepth is how many packets within one another are shown.
const maxDepth = 3

// inner formats the packet that one in the place in carries behind its header.
func inner(b []byte, in nesting) string {
	if in.depth++; in.depth > maxDepth {
		return "…"
	}
	return format(b, in)
}

// format formats a whole packet, or the start of one that an ICMP error quotes.
func format(b []byte, in nesting) string {
	h, ok := parse(b)
	if !ok {
		return h.fault
	}
	var w strings.Builder
	fmt.Fprintf(&w, "%s %s > %s: ", h.name, h.endpoint(h.src, 0), h.endpoint(h.dst, 2))
	switch {
	case h.body == nil:
		w.WriteString(h.fault)
		return w.String()
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

// endpoint returns the address and, where the packet has ports, the one at the offset of its transport header.
func (h packet) endpoint(a netip.Addr, offset int) string {
	if !h.proto.HasPorts() || h.Fault != header.NoFault || len(h.body) < offset+2 {
		return a.String()
	}
	return fmt.Sprintf("%v.%d", a, binary.BigEndian.Uint16(h.body[offset:]))
}

// transport says what stands behind the network layer's headers.
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

// protoName returns the protocol's name as /etc/protocols has it in lower case, or tcpdump's "ip-proto-N".
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
