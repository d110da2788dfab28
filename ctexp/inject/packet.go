package inject

import (
	"github.com/google/gopacket"

	"github.com/ctexp/go-ctexp/ctexp/nf"
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

// Decode returns the layers of p, which is copied. It never panics: what cannot be decoded stands in the result's
// ErrorLayer, behind the layers that can. gopacket goes by port numbers, so that a payload to port 53 is an error there
// unless it is DNS.
func Decode(p Packet) gopacket.Packet { return pktline.Decode(p) }
