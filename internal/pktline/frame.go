package pktline

import (
	"encoding/binary"
	"fmt"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
)

// FormatFrame returns one line about the Ethernet frame b:
//
//	02:00:00:00:00:02 > 02:00:00:00:00:01, vlan 5, IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], …
func FormatFrame(b []byte) string {
	if len(b) < header.EthernetSize {
		return fmt.Sprintf("Ethernet header cut after %d bytes", len(b))
	}
	line := fmt.Sprintf("%v > %v, ", nf.MAC(b[6:]), nf.MAC(b))
	f := header.ParseFrame(b)
	for _, id := range f.VLANs(b) {
		line += fmt.Sprintf("vlan %d, ", id)
	}
	if f.Cut {
		return line + "vlan tag cut"
	}
	return line + FormatAs(f.EtherType, b[f.Payload:])
}

// FormatAs returns one line about b, which is what a frame of that EtherType carries.
func FormatAs(typ uint16, b []byte) string {
	switch {
	case typ == header.EtherTypeIPv4 || typ == header.EtherTypeIPv6:
		return Format(b)
	case typ == header.EtherTypeARP:
		return arp(b)
	case typ < header.MinEtherType: // IEEE 802.3
		return fmt.Sprintf("802.3, length %d", typ)
	}
	return fmt.Sprintf("ethertype 0x%04x, length %d", typ, len(b))
}

// arp knows Ethernet and IPv4 alone.
func arp(b []byte) string {
	if len(b) < 28 {
		return fmt.Sprintf("ARP cut after %d bytes", len(b))
	}
	if binary.BigEndian.Uint32(b) != 1<<16|header.EtherTypeIPv4 || binary.BigEndian.Uint16(b[4:]) != 6<<8|4 {
		return fmt.Sprintf("ARP of other kinds of addresses, length %d", len(b))
	}
	sender, target := addr(b[14:18]), addr(b[24:28])
	switch op := binary.BigEndian.Uint16(b[6:]); op {
	case 1:
		return fmt.Sprintf("ARP, who has %v tell %v, length %d", target, sender, len(b))
	case 2:
		return fmt.Sprintf("ARP, %v is at %v, length %d", sender, nf.MAC(b[8:]), len(b))
	default:
		return fmt.Sprintf("ARP, operation %d, length %d", op, len(b))
	}
}
