package nf

import (
	"fmt"
	"net/netip"
	"strings"
)

// Match says which packets a Probe counts: what a rule compares. Every field that is not zero must agree; the zero Match is
// every packet. Packets that were seen are compared by packet.Match.
type Match struct {
	// In and Out are the names of the interfaces that the packet came in by and leaves by.
	In, Out string
	// Proto is the protocol behind the network header.
	Proto Proto
	// Src and Dst are what the addresses are in.
	Src, Dst netip.Prefix
	// SrcPort and DstPort are those of a protocol with ports. They need Proto.
	SrcPort, DstPort uint16
}

// String returns m in the words of nft: "iifname tun0 ip saddr 198.18.0.0/16 tcp dport 80".
func (m Match) String() string {
	var s []string
	add := func(on bool, format string, args ...any) {
		if on {
			s = append(s, fmt.Sprintf(format, args...))
		}
	}
	ip := func(p netip.Prefix) string {
		if FamilyOf(p.Addr()) == IPv6 {
			return "ip6"
		}
		return "ip"
	}
	add(m.In != "", "iifname %s", m.In)
	add(m.Out != "", "oifname %s", m.Out)
	add(m.Src.IsValid(), "%s saddr %v", ip(m.Src), m.Src)
	add(m.Dst.IsValid(), "%s daddr %v", ip(m.Dst), m.Dst)
	add(m.Proto != 0 && m.SrcPort == 0 && m.DstPort == 0, "meta l4proto %v", m.Proto)
	add(m.SrcPort != 0, "%v sport %d", m.Proto, m.SrcPort)
	add(m.DstPort != 0, "%v dport %d", m.Proto, m.DstPort)
	return strings.Join(s, " ")
}
