package observe

import (
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/pktline"
)

// ip returns the packet of the frame, or nil if it is neither IPv4 nor IPv6 or not what its EtherType says.
func (f Frame) ip() []byte {
	switch v := header.Version(f.Packet); {
	case f.EtherType == header.EtherTypeIPv4 && v == 4, f.EtherType == header.EtherTypeIPv6 && v == 6:
		return f.Packet
	}
	return nil
}

// Family returns the family of the frame's packet by its EtherType; 0 if it is neither IPv4 nor IPv6.
func (f Frame) Family() nf.Family {
	switch f.EtherType {
	case header.EtherTypeIPv4:
		return nf.IPv4
	case header.EtherTypeIPv6:
		return nf.IPv6
	}
	return 0
}

// Tuple returns the tuple of the frame's packet as it stands there, before or behind any NAT; zero if it is not IP.
func (f Frame) Tuple() nf.Tuple {
	t, _ := nf.TupleOf(f.ip())
	return t
}

// transport returns the protocol of the frame's packet, and the bytes from its transport header on.
func (f Frame) transport() (nf.Proto, []byte) {
	p := f.ip()
	v := header.Parse(p)
	return nf.Proto(v.Proto), v.Body(p)
}

// TCPFlags returns the flags of a TCP segment as its line shows them: "S", "S.", "F.", "none"; "" where there is no
// whole TCP header.
func (f Frame) TCPFlags() string {
	proto, b := f.transport()
	if proto != nf.TCP || len(b) < header.TCPSize {
		return ""
	}
	return pktline.Flags(b[13])
}

// Data returns what the frame's packet carries behind the header of TCP, UDP or ICMP, options of TCP passed over; nil
// for other protocols and where there is no such header. The bytes are those of Packet.
func (f Frame) Data() []byte {
	proto, b := f.transport()
	return header.Data(uint8(proto), b)
}

// About returns the tuple of the packet that an ICMP error or redirect quotes, as it stands there; zero for other packets,
// and where the quoted one is too short.
func (f Frame) About() nf.Tuple {
	p := f.ip()
	t, _ := nf.TupleOf(header.Parse(p).Quoted(p))
	return t
}
