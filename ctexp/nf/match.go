package nf

import (
	"fmt"
	"net/netip"
	"strings"
)

// Match says which packets are meant. Every field that is not zero must agree; the zero Match is every packet.
type Match struct {
	In, Out string // names of the interfaces that the packet came in by and leaves by
	Proto   Proto
	Src     netip.Prefix
	Dst     netip.Prefix
	SrcPort uint16 // for protocols with ports; needs Proto
	DstPort uint16
}

// Packet reports whether m means the packet b, which begins at the network layer. The interfaces are not looked at.
// Of a fragment that is not the first the ports are unknown and agree with none.
func (m Match) Packet(b []byte) bool {
	h, ok := TupleOf(b)
	if !ok {
		return m.withoutLinks() == Match{}
	}
	if m.Proto != 0 && m.Proto != h.Proto ||
		m.Src.IsValid() && !m.Src.Contains(h.Src.Addr()) ||
		m.Dst.IsValid() && !m.Dst.Contains(h.Dst.Addr()) {
		return false
	}
	if m.SrcPort == 0 && m.DstPort == 0 {
		return true
	}
	return h.Proto.HasPorts() &&
		(m.SrcPort == 0 || m.SrcPort == h.Src.Port()) &&
		(m.DstPort == 0 || m.DstPort == h.Dst.Port())
}

func (m Match) withoutLinks() Match {
	m.In, m.Out = "", ""
	return m
}

// String prints m in the words of nft: "iifname tun0 ip saddr 198.18.0.0/16 tcp dport 80".
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
