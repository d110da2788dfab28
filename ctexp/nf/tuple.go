package nf

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/ctexp/go-ctexp/internal/header"
)

// Tuple identifies one direction of a flow (include/net/netfilter/nf_conntrack_tuple.h, struct nf_conntrack_tuple). The
// zone is part of the Entry.
type Tuple struct {
	Proto Proto // protocol behind the IP headers
	// Src and Dst are the addresses and ports. The port is the key for GRE and 0 for other protocols without ports.
	Src, Dst netip.AddrPort
	// ICMP is zero unless Proto is ICMP or ICMPv6.
	ICMP ICMPTuple
}

// ICMPTuple takes the place of the ports in the tuple of an ICMP or ICMPv6 query.
type ICMPTuple struct {
	Type, Code uint8  // of the message
	ID         uint16 // identifier of the query
}

// TupleOf returns the tuple of the packet b, which begins at the network layer. ok is false if b has no network header
// that the kernel accepts. IPv6 extension headers are skipped. Ports and ICMP fields are zero if they are not present,
// as in a later fragment or a truncated packet.
//
// In a PPTP packet (GRE version 1), the destination's key is the call ID of the receiver. The packet does not contain
// the sender's: the kernel takes the source's key from what a helper has seen on the PPTP control connection, else it
// is zero (net/netfilter/nf_conntrack_proto_gre.c, gre_pkt_to_tuple). Conntrack knows no keys for other GRE packets.
func TupleOf(b []byte) (t Tuple, ok bool) {
	v := header.Parse(b)
	if !v.HasHeader() {
		return Tuple{}, false
	}
	t.Proto = Proto(v.Proto)
	var src, dst uint16
	switch l4 := v.Body(b); {
	case t.Proto.HasPorts() && len(l4) >= 4:
		src, dst = binary.BigEndian.Uint16(l4), binary.BigEndian.Uint16(l4[2:])
	case t.Proto == GRE:
		if g := header.ParseGRE(l4); g.Version == 1 && g.Key > 0 {
			dst = binary.BigEndian.Uint16(l4[g.Key+2:])
		}
	case t.Proto.IsICMP() && len(l4) >= 8:
		t.ICMP = ICMPTuple{Type: l4[0], Code: l4[1]}
		if _, query := icmpInverse[t.Proto][l4[0]]; query {
			t.ICMP.ID = binary.BigEndian.Uint16(l4[4:])
		}
	}
	t.Src, t.Dst = netip.AddrPortFrom(v.Src(b), src), netip.AddrPortFrom(v.Dst(b), dst)
	return t, true
}

// Family returns the family of the tuple's source address.
func (t Tuple) Family() Family { return FamilyOf(t.Src.Addr()) }

// Reverse returns the tuple of the opposite direction of a flow without NAT: source and destination are swapped, and an
// echo request becomes an echo reply (net/netfilter/nf_conntrack_proto_icmp.c, nf_conntrack_invert_icmp_tuple).
func (t Tuple) Reverse() Tuple {
	t.Src, t.Dst = t.Dst, t.Src
	if inv, ok := icmpInverse[t.Proto][t.ICMP.Type]; ok && t.Proto.IsICMP() {
		t.ICMP.Type = inv
	}
	return t
}

// icmpInverse is invmap of nf_conntrack_proto_icmp.c and nf_conntrack_proto_icmpv6.c.
var icmpInverse = map[Proto]map[uint8]uint8{
	ICMP:   {8: 0, 0: 8, 13: 14, 14: 13, 15: 16, 16: 15, 17: 18, 18: 17},
	ICMPv6: {128: 129, 129: 128, 139: 140, 140: 139},
}

// check returns why no entry has a tuple that is not zero.
func (t Tuple) check() error {
	_, query := icmpInverse[t.Proto][t.ICMP.Type]
	if err := t.Check(); err != nil || t == (Tuple{}) {
		return err
	}
	if t.Proto.IsICMP() && !query {
		return fmt.Errorf("no entry is of %v of type %d, which is no query", t.Proto, t.ICMP.Type)
	}
	return nil
}

// Check returns why no packet and no entry has the tuple, nil if some may: it lacks an address or the protocol, or has ports or fields of
// ICMP that are not those of its protocol. Nothing is wrong with the zero Tuple, which is that of no packet.
func (t Tuple) Check() error {
	switch ports := t.Src.Port() != 0 || t.Dst.Port() != 0; {
	case t == Tuple{}:
	case !t.Src.Addr().IsValid() || !t.Dst.Addr().IsValid():
		return fmt.Errorf("a tuple is compared as a whole, and none is without an address: %v", t)
	case t.Proto == 0:
		return fmt.Errorf("a tuple is compared as a whole, and none is without a protocol: %v", t)
	case ports && !t.Proto.HasPorts() && t.Proto != GRE:
		return fmt.Errorf("no tuple of %v has ports: %v to %v", t.Proto, t.Src, t.Dst)
	case t.ICMP != ICMPTuple{} && !t.Proto.IsICMP():
		return fmt.Errorf("no tuple of %v has fields of ICMP", t.Proto)
	}
	return nil
}

// String returns the tuple in the words of conntrack -L: "src=198.18.0.2 dst=192.0.2.1 sport=10000 dport=80".
func (t Tuple) String() string {
	s := fmt.Sprintf("src=%v dst=%v", t.Src.Addr(), t.Dst.Addr())
	switch {
	case t.Proto.IsICMP():
		s += fmt.Sprintf(" type=%d code=%d id=%d", t.ICMP.Type, t.ICMP.Code, t.ICMP.ID)
	case t.Proto.HasPorts():
		s += fmt.Sprintf(" sport=%d dport=%d", t.Src.Port(), t.Dst.Port())
	case t.Proto == GRE:
		s += fmt.Sprintf(" srckey=%#x dstkey=%#x", t.Src.Port(), t.Dst.Port())
	}
	return s
}

// Proto is an IP protocol number as assigned by IANA. In a Match or a Filter, the zero Proto means any.
type Proto uint8

// The protocols that conntrack has its own tracker for.
const (
	ICMP    Proto = 1
	TCP     Proto = 6
	UDP     Proto = 17
	DCCP    Proto = 33
	GRE     Proto = 47
	ICMPv6  Proto = 58
	SCTP    Proto = 132
	UDPLite Proto = 136
)

var protoNames = map[Proto]string{
	ICMP: "icmp", TCP: "tcp", UDP: "udp", DCCP: "dccp", GRE: "gre", ICMPv6: "icmpv6", SCTP: "sctp", UDPLite: "udplite",
}

// String returns the name that conntrack prints, or "unknown-N".
func (p Proto) String() string {
	if n, ok := protoNames[p]; ok {
		return n
	}
	return fmt.Sprintf("unknown-%d", uint8(p))
}

// protoOf is the inverse of Proto.String.
func protoOf(name string) (Proto, bool) {
	for p, n := range protoNames {
		if n == name {
			return p, true
		}
	}
	if number, ok := strings.CutPrefix(name, "unknown-"); ok {
		n, err := strconv.ParseUint(number, 10, 8)
		return Proto(n), err == nil
	}
	return 0, false
}

// HasPorts reports whether the protocol's header begins with a source and a destination port.
func (p Proto) HasPorts() bool { return header.HasPorts(uint8(p)) }

// IsICMP reports whether p is ICMP or ICMPv6, whose tuples have a type, a code and an identifier instead of ports.
func (p Proto) IsICMP() bool { return p == ICMP || p == ICMPv6 }

// Family is a network layer protocol family, numbered as in netlink (include/uapi/linux/netfilter.h, NFPROTO_*).
// The zero Family means both IPv4 and IPv6.
type Family uint8

// The families that conntrack knows.
const (
	IPv4 Family = 2
	IPv6 Family = 10
)

// Families returns the families that conntrack knows, in the order in which paths and tallies show them.
func Families() []Family { return []Family{IPv4, IPv6} }

// probePrefix begins the names of the standard probes of f.
func (f Family) probePrefix() string {
	switch f {
	case IPv4:
		return ""
	case IPv6:
		return "ip6/"
	}
	return f.String() + "/"
}

// FamilyOf returns the family of a. An IPv4-mapped IPv6 address counts as IPv4; the zero Addr has Family 0.
func FamilyOf(a netip.Addr) Family {
	switch {
	case a.Unmap().Is4():
		return IPv4
	case a.Is6():
		return IPv6
	}
	return 0
}

// String returns "ipv4" or "ipv6" as conntrack -o extended prints it, "inet" for both.
func (f Family) String() string {
	switch f {
	case 0:
		return "inet"
	case IPv4:
		return "ipv4"
	case IPv6:
		return "ipv6"
	}
	return fmt.Sprintf("family(%d)", uint8(f))
}

// Hook is a netfilter hook (include/uapi/linux/netfilter.h, enum nf_inet_hooks).
type Hook uint8

// The hooks. A packet to the host passes prerouting and input, a forwarded packet passes prerouting, forward and
// postrouting, and a packet from the host passes output and postrouting. Ingress is on the link, before all others,
// and Egress behind all others, also for what is no packet of IP. The two take no probes.
const (
	Prerouting Hook = iota
	Input
	Forward
	Output
	Postrouting
	Ingress
	Egress
)

// String returns the hook's name as nft writes it.
func (h Hook) String() string {
	names := [...]string{"prerouting", "input", "forward", "output", "postrouting", "ingress", "egress"}
	if int(h) < len(names) {
		return names[h]
	}
	return fmt.Sprintf("hook(%d)", uint8(h))
}

// MAC is an Ethernet address: nf.MAC{2, 0, 0, 0, 0, 1}, nf.MAC(iface.HardwareAddr). The zero MAC means none.
type MAC [6]byte

// String returns "02:00:00:00:00:01".
func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }
