package nf

import (
	"fmt"
	"net/netip"
	"strings"
)

// Match selects packets. All nonzero fields must match; the zero Match selects every packet.
type Match struct {
	In, Out string       // names of the input and the output interface
	Proto   Proto        // protocol behind the IP headers
	Src     netip.Prefix // source address
	Dst     netip.Prefix // destination address
	SrcPort uint16       // source port; needs a Proto with ports
	DstPort uint16       // destination port; needs a Proto with ports
}

// Packet reports whether m selects the packet b, which begins at the network layer. It ignores the interfaces. A later
// fragment has no ports and matches none.
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
