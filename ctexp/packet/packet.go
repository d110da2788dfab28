package packet

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/gopacket"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/pktline"
)

// Packet is one packet, beginning with its IPv4 or IPv6 header. Any bytes will do: Build makes whole packets, and
// what is sent on purpose as garbage may be written as a literal.
type Packet []byte

// String returns one line in the manner of tcpdump:
//
//	IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0
func (p Packet) String() string { return pktline.Format(p) }

// Tuple returns the tuple by which conntrack knows the packet's direction, before any NAT. It is zero where p has no
// whole IPv4 or IPv6 header.
func (p Packet) Tuple() nf.Tuple {
	t, _ := nf.TupleOf(p)
	return t
}

// Data returns what p carries behind the header of TCP, UDP or ICMP, options of TCP passed over; nil where that is cut. Of
// other protocols it is all behind the headers of the network layer. The bytes are those of p.
func (p Packet) Data() []byte {
	v := header.Parse(p)
	b := v.Body(p)
	switch v.Proto {
	case header.ProtoTCP, header.ProtoUDP, header.ProtoICMP, header.ProtoICMPv6:
		return header.Data(v.Proto, b)
	}
	return b
}

// Quoted returns what the ICMP error or redirect p quotes of the packet that it is about; nil where p is no such message, or
// a cut one. It is mostly only the beginning of that packet, so that its header claims more.
func (p Packet) Quoted() Packet { return slices.Clone(p.quoted()) }

// quoted is Quoted in place.
func (p Packet) quoted() Packet { return header.Parse(p).Quoted(p) }

// ChecksumError says which checksum of p is wrong; nil if none. That of a fragment's transport header cannot be told, and in
// UDP over IPv4 there may be none.
func (p Packet) ChecksumError() error {
	d, err := takeApart(p)
	if err != nil {
		return nil
	}
	if !d.v6() && !d.right.headerSum {
		return errors.New("wrong in the IPv4 header")
	}
	field := d.sumField(d.l4)
	if d.part || d.fault != header.NoFault || len(field) == 0 || d.right.l4Sum {
		return nil
	}
	got, want := header.GetSum(field), d.rightSum(d.l4)
	if d.proto == nf.UDP && got == 0 && !d.v6() {
		return nil // RFC 768: there is none
	}
	return fmt.Errorf("%#x is wrong for %v, %#x right", got, d.proto, want)
}

// Decode returns the layers of p, which is copied. It never panics: what cannot be decoded stands in the result's
// ErrorLayer, behind the layers that can. gopacket goes by port numbers, so that a payload to port 53 is an error there
// unless it is DNS.
func Decode(p Packet) gopacket.Packet { return pktline.Decode(p) }
