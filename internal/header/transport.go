package header

import "encoding/binary"

// Lengths of transport headers without options.
const (
	TCPSize  = 20
	UDPSize  = 8
	ICMPSize = 8
)

// Data returns the payload of TCP, UDP, ICMP or ICMPv6 as a slice of l4, which begins with the transport header. For
// TCP it begins behind the options, for UDP it ends where the length field says. Data returns nil for other protocols,
// for a truncated header, and for a TCP header length of less than 20 bytes, which Linux drops (net/ipv4/tcp_ipv4.c,
// tcp_v4_rcv).
func Data(proto uint8, l4 []byte) []byte {
	size, end := 0, len(l4)
	switch {
	case proto == ProtoTCP && len(l4) >= TCPSize:
		if size = int(l4[12]>>4) * 4; size < TCPSize {
			return nil
		}
	case proto == ProtoUDP && len(l4) >= UDPSize:
		size = UDPSize
		if n := int(binary.BigEndian.Uint16(l4[4:])); n >= size {
			end = min(end, n)
		}
	case proto == ProtoICMP || proto == ProtoICMPv6:
		size = ICMPSize
	}
	if size == 0 || size > end {
		return nil
	}
	return l4[size:end:end]
}

// Kinds of options of TCP (include/net/tcp.h, TCPOPT_MSS and others). They are untyped, for any integer.
const (
	OptionEnd           = 0
	OptionNOP           = 1
	OptionMSS           = 2
	OptionWindowScale   = 3
	OptionSACKPermitted = 4
	OptionSACK          = 5
	OptionTimestamps    = 8
)

// Option reads the first option of b, which must not be empty: its kind, its data as a slice of b, and the remaining
// options, which are empty after the end of the list. If the length of the option is invalid, less than 2 bytes or more
// than there are in b, data and remaining options are nil.
func Option(b []byte) (kind uint8, data, rest []byte) {
	switch kind = b[0]; {
	case kind == OptionEnd:
		return kind, nil, b[len(b):]
	case kind == OptionNOP:
		return kind, nil, b[1:]
	case len(b) < 2 || b[1] < 2 || int(b[1]) > len(b):
		return kind, nil, nil
	}
	n := int(b[1])
	return kind, b[2:n:n], b[n:]
}

// GRE is a parsed GRE header. The zero GRE stands for a header of less than 4 bytes.
type GRE struct {
	Version       uint8  // 0, or 1 for PPTP
	Protocol      uint16 // EtherType of the payload
	Key, Seq, Ack int    // offsets of these fields, of 4 bytes each; 0 if the field is missing or truncated
	Length        int    // of the header according to its flags; more than its bytes if it is truncated
}

// ParseGRE reads the GRE header at the start of b (RFC 2784, RFC 2890). In version 1 the key consists of the payload
// length and the call ID, which are always present, and there is no checksum (RFC 2637, 4.1; net/netfilter/nf_conntrack_proto_gre.c,
// gre_pkt_to_tuple).
func ParseGRE(b []byte) GRE {
	if len(b) < 4 {
		return GRE{}
	}
	g := GRE{Version: b[1] & 7, Protocol: binary.BigEndian.Uint16(b[2:]), Length: 4}
	pptp := g.Version == 1
	var sum int // with the offset
	for _, f := range []struct {
		there bool
		at    *int
	}{
		{b[0]&0xc0 != 0 && !pptp, &sum}, {b[0]&0x20 != 0 || pptp, &g.Key}, {b[0]&0x10 != 0, &g.Seq}, {b[1]&0x80 != 0 && pptp, &g.Ack},
	} {
		if !f.there {
			continue
		}
		if len(b) >= g.Length+4 {
			*f.at = g.Length
		}
		g.Length += 4
	}
	return g
}

// HasPorts reports whether the header of a protocol begins with a source and a destination port.
func HasPorts(proto uint8) bool {
	switch proto {
	case ProtoTCP, ProtoUDP, ProtoDCCP, ProtoSCTP, ProtoUDPLite:
		return true
	}
	return false
}
