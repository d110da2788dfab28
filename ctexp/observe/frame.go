package observe

import (
	"fmt"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/pktline"
)

// Frame is what went over a link, once.
type Frame struct {
	Time time.Time // when the kernel had it
	Link string    // name of the interface
	Dir  Dir
	// EtherType says what Packet is: 0x0800 IPv4, 0x86dd IPv6, 0x0806 ARP.
	EtherType uint16
	// Packet begins at the network layer: at the IP header of an IP packet, at the ARP header of ARP.
	Packet []byte
	// Ethernet is what stands in front of it on a link that has Ethernet: the addresses (DstMAC, SrcMAC), the tags of
	// VLANs, and what the packet is. Nil on others, such as tun.
	Ethernet []byte
}

// Dir is the direction of a frame, as the host sees it.
type Dir uint8

// The directions.
const (
	In Dir = iota
	Out
)

// String returns "In" or "Out".
func (d Dir) String() string {
	if d == Out {
		return "Out"
	}
	return "In"
}

// String prints the frame as one line, much as tcpdump does:
//
//	12:00:00.000001 tun0 In  IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, win 65535, length 0
//
// In front of the packet stand the tags of VLANs, "vlan 7, "; the addresses of Ethernet are left to SrcMAC and DstMAC.
func (f Frame) String() string {
	return fmt.Sprintf("%s %s", f.Time.Format("15:04:05.000000"), f.line())
}

// line prints the frame without its time.
func (f Frame) line() string {
	tags := ""
	for _, id := range f.VLANs() {
		tags += fmt.Sprintf("vlan %d, ", id)
	}
	return fmt.Sprintf("%s %-3v %s%s", f.Link, f.Dir, tags, pktline.FormatAs(f.EtherType, f.Packet))
}

// Decode returns the packet's layers. It never fails: what cannot be decoded is an error layer at the end.
func (f Frame) Decode() gopacket.Packet {
	var first gopacket.Decoder
	switch f.EtherType {
	case header.EtherTypeIPv4:
		first = layers.LayerTypeIPv4
	case header.EtherTypeIPv6:
		first = layers.LayerTypeIPv6
	case header.EtherTypeARP:
		first = layers.LayerTypeARP
	default:
		first = gopacket.LayerTypePayload
	}
	return gopacket.NewPacket(f.Packet, first, gopacket.Default)
}

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

// SrcMAC returns the address of Ethernet that the frame comes from; zero on links that have none.
func (f Frame) SrcMAC() nf.MAC { return f.mac(6) }

// DstMAC returns the address of Ethernet that the frame goes to; zero on links that have none.
func (f Frame) DstMAC() nf.MAC { return f.mac(0) }

func (f Frame) mac(at int) nf.MAC {
	if len(f.Ethernet) < header.EthernetSize {
		return nf.MAC{}
	}
	return nf.MAC(f.Ethernet[at:])
}

// VLANs returns the ids of the VLANs that the frame is tagged with, from the outermost.
func (f Frame) VLANs() []uint16 { return header.ParseFrame(f.Ethernet).VLANs(f.Ethernet) }
