package nf

import (
	"encoding/binary"
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
	h, ok := parseHeader(b)
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

// TupleOf returns the tuple of the packet b, which begins at the network layer, without any NAT; ok is false where
// b is too short or of another version. IPv6 extension headers are passed over; ports and ICMP fields that are not
// there (a later fragment, a cut header) are zero.
//
// A packet of PPTP (GRE version 1) has the call of its receiver as the destination's key. That of its sender is not in it:
// the kernel takes the source's key from what a helper has seen of PPTP's control connection, and zero without that
// (net/netfilter/nf_conntrack_proto_gre.c, gre_pkt_to_tuple). Other packets of GRE have no keys for conntrack.
func TupleOf(b []byte) (t Tuple, ok bool) { return parseHeader(b) }

func parseHeader(b []byte) (Tuple, bool) {
	if len(b) < 20 {
		return Tuple{}, false
	}
	var t Tuple
	var l4 []byte
	switch b[0] >> 4 {
	case 4:
		n := int(b[0]&15) * 4
		if n < 20 || len(b) < n {
			return Tuple{}, false
		}
		b = claimed(b, int(binary.BigEndian.Uint16(b[2:])), n)
		t.Proto = Proto(b[9])
		t.Src = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[12:16])), 0)
		t.Dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[16:20])), 0)
		if binary.BigEndian.Uint16(b[6:])&0x1fff == 0 {
			l4 = b[n:]
		}
	case 6:
		if len(b) < 40 {
			return Tuple{}, false
		}
		t.Src = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])), 0)
		t.Dst = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[24:40])), 0)
		b = claimed(b, 40+int(binary.BigEndian.Uint16(b[4:])), 40)
		t.Proto, l4 = skipExtensions(b[6], b[40:])
	default:
		return Tuple{}, false
	}
	switch {
	case t.Proto.HasPorts() && len(l4) >= 4:
		t.Src = netip.AddrPortFrom(t.Src.Addr(), binary.BigEndian.Uint16(l4))
		t.Dst = netip.AddrPortFrom(t.Dst.Addr(), binary.BigEndian.Uint16(l4[2:]))
	case t.Proto == GRE && len(l4) >= 8 && l4[1]&7 == 1:
		t.Dst = netip.AddrPortFrom(t.Dst.Addr(), binary.BigEndian.Uint16(l4[6:]))
	case t.Proto.IsICMP() && len(l4) >= 8:
		t.ICMP = ICMPTuple{Type: l4[0], Code: l4[1]}
		if _, query := icmpInverse[t.Proto][l4[0]]; query {
			t.ICMP.ID = binary.BigEndian.Uint16(l4[4:])
		}
	}
	return t, true
}

// claimed cuts b to the length that its header claims, at least the header itself; one that is too long stays as it is.
func claimed(b []byte, total, header int) []byte {
	return b[:min(len(b), max(total, header))]
}

// skipExtensions walks the IPv6 extension headers (net/ipv6/exthdrs_core.c, ipv6_skip_exthdr) and returns the
// protocol behind them and its header; that of a later fragment is nil.
func skipExtensions(next byte, b []byte) (Proto, []byte) {
	for {
		n := 0
		switch next {
		case 0, 43, 60: // hop-by-hop, routing, destination options
			if len(b) < 8 {
				return Proto(next), nil
			}
			n = int(b[1])*8 + 8
		case 51: // authentication
			if len(b) < 8 {
				return Proto(next), nil
			}
			n = int(b[1])*4 + 8
		case 44: // fragment
			if len(b) < 8 {
				return Proto(next), nil
			}
			if binary.BigEndian.Uint16(b[2:])&0xfff8 != 0 {
				return Proto(b[0]), nil
			}
			n = 8
		default:
			return Proto(next), b
		}
		if len(b) < n {
			return Proto(next), nil
		}
		next, b = b[0], b[n:]
	}
}
