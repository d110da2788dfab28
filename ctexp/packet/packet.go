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

// Packet is one packet, beginning with its IPv4 or IPv6 header. It need not be valid: Build makes complete packets, and
// garbage may be written as a literal.
type Packet []byte

// String returns one line like tcpdump's:
//
//	IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0
func (p Packet) String() string { return pktline.Format(p) }

// Tuple returns the conntrack tuple of the packet. It is zero if p has no complete IPv4 or IPv6 header.
func (p Packet) Tuple() nf.Tuple {
	t, _ := nf.TupleOf(p)
	return t
}

// Data returns the payload after the header of TCP (with options), UDP or ICMP; nil if that header is truncated. For other
// protocols it is everything after the headers of the network layer. It shares the memory of p.
func (p Packet) Data() []byte {
	v := header.Parse(p)
	b := v.Body(p)
	switch v.Proto {
	case header.ProtoTCP, header.ProtoUDP, header.ProtoICMP, header.ProtoICMPv6:
		return header.Data(v.Proto, b)
	}
	return b
}

// Quoted returns a copy of the packet that the ICMP error or redirect p quotes; nil if p is no such message or is truncated.
// Usually only the beginning of the packet is quoted, so that its header claims a larger length.
func (p Packet) Quoted() Packet { return slices.Clone(p.quoted()) }

// quoted is Quoted without the copy.
func (p Packet) quoted() Packet { return header.Parse(p).Quoted(p) }

// ChecksumError returns an error that names the wrong checksum of p; nil if none is wrong. The transport checksum of a
// fragment cannot be checked, and UDP over IPv4 may have none.
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
	return fmt.Errorf("wrong for %v: %#x, want %#x", d.proto, got, want)
}

// Decode returns the layers of a copy of p. It never panics: if a layer cannot be decoded, the result has an ErrorLayer
// after the others. gopacket chooses application layers by port number, so that a payload to port 53 that is not DNS is
// such an error.
func Decode(p Packet) gopacket.Packet { return pktline.Decode(p) }
