package observe

import (
	"encoding/binary"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/pktline"
)

// ip returns the packet of the frame, or nil if it is neither IPv4 nor IPv6 or not what its EtherType says.
func (f Frame) ip() []byte {
	var version byte
	switch f.EtherType {
	case etherIPv4:
		version = 4
	case etherIPv6:
		version = 6
	default:
		return nil
	}
	if len(f.Packet) == 0 || f.Packet[0]>>4 != version {
		return nil
	}
	return f.Packet
}

// Family returns the family of the frame's packet by its EtherType; 0 if it is neither IPv4 nor IPv6.
func (f Frame) Family() nf.Family {
	switch f.EtherType {
	case etherIPv4:
		return nf.IPv4
	case etherIPv6:
		return nf.IPv6
	}
	return 0
}

// Tuple returns the tuple of the frame's packet as it stands there, before or behind any NAT; zero if it is not IP.
func (f Frame) Tuple() nf.Tuple {
	t, _ := nf.TupleOf(f.ip())
	return t
}

const (
	tcpHeader  = 20
	udpHeader  = 8
	icmpHeader = 8
)

// TCPFlags returns the flags of a TCP segment as its line shows them: "S", "S.", "F.", "none"; "" where there is no
// whole TCP header.
func (f Frame) TCPFlags() string {
	proto, b := pktline.Transport(f.ip())
	if proto != nf.TCP || len(b) < tcpHeader {
		return ""
	}
	return pktline.Flags(b[13])
}

// Data returns what the frame's packet carries behind the header of TCP, UDP or ICMP, options of TCP passed over; nil
// for other protocols and where there is no such header. The bytes are those of Packet.
func (f Frame) Data() []byte {
	proto, b := pktline.Transport(f.ip())
	header := 0
	switch {
	case proto == nf.TCP && len(b) >= tcpHeader:
		header = max(tcpHeader, int(b[12]>>4)*4)
	case proto == nf.UDP && len(b) >= udpHeader:
		header = udpHeader
		if n := int(binary.BigEndian.Uint16(b[4:])); n >= udpHeader && n < len(b) {
			b = b[:n]
		}
	case proto.IsICMP():
		header = icmpHeader
	}
	if header == 0 || header > len(b) {
		return nil
	}
	return b[header:]
}

// About returns the tuple of the packet that an ICMP error quotes, as it stands there; zero for other packets, and where
// the quoted one is too short.
func (f Frame) About() nf.Tuple {
	proto, b := pktline.Transport(f.ip())
	if len(b) < icmpHeader || !isICMPError(proto, b[0]) {
		return nf.Tuple{}
	}
	t, _ := nf.TupleOf(b[icmpHeader:])
	return t
}

// isICMPError reports whether messages of that type quote a packet (net/netfilter/nf_conntrack_proto_icmp.c,
// icmp_error_message; for ICMPv6 RFC 4443, 2.1).
func isICMPError(p nf.Proto, typ uint8) bool {
	switch p {
	case nf.ICMP:
		switch typ {
		case 3, 4, 5, 11, 12: // unreachable, source quench, redirect, time exceeded, parameter problem
			return true
		}
	case nf.ICMPv6:
		return typ < 128
	}
	return false
}
