package nf

import (
	"fmt"
	"net/netip"
	"strings"
)

// Match selects the packets that a Probe counts. Every field that is not zero must match; the zero Match selects every
// packet. For packets that were captured, see packet.Match.
type Match struct {
	// In and Out are the names of the input and output interfaces.
	In, Out string
	// Proto is the transport protocol.
	Proto Proto
	// Src and Dst are prefixes that contain the addresses.
	Src, Dst netip.Prefix
	// SrcPort and DstPort are the ports of the transport header. They need Proto.
	SrcPort, DstPort uint16
	// Flags are compared in the bits of FlagsMask, or, if that is zero, must all be set. They need Proto TCP.
	Flags, FlagsMask TCPFlags
}

// TCPMask returns the flags of TCP that m compares; zero: none.
func (m Match) TCPMask() TCPFlags {
	if m.FlagsMask != 0 {
		return m.FlagsMask
	}
	return m.Flags
}

// Check returns why m matches no packet, nil if it may match some: its addresses are of different families.
func (m Match) Check() error {
	if m.Src.IsValid() && m.Dst.IsValid() && FamilyOf(m.Src.Addr()) != FamilyOf(m.Dst.Addr()) {
		return fmt.Errorf("no packet goes from %v to %v, which are of different families", m.Src, m.Dst)
	}
	return nil
}

// String returns m in the syntax of nft: "iifname tun0 ip saddr 198.18.0.0/16 tcp dport 80".
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
	add(m.Proto != 0 && m.SrcPort == 0 && m.DstPort == 0 && m.TCPMask() == 0, "meta l4proto %v", m.Proto)
	add(m.SrcPort != 0, "%v sport %d", m.Proto, m.SrcPort)
	add(m.DstPort != 0, "%v dport %d", m.Proto, m.DstPort)
	add(m.TCPMask() != 0, "tcp flags & (%s) == %s", m.TCPMask().words(), m.Flags.words())
	return strings.Join(s, " ")
}
