package observe

import (
	"fmt"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

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
