package pktline

import (
	"encoding/binary"
	"fmt"
	"net"
)

// FormatFrame returns one line about the Ethernet frame b:
//
//	02:00:00:00:00:02 > 02:00:00:00:00:01, vlan 5, IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], …
func FormatFrame(b []byte) string {
	if len(b) < 14 {
		return fmt.Sprintf("Ethernet header cut after %d bytes", len(b))
	}
	line := fmt.Sprintf("%v > %v, ", net.HardwareAddr(b[6:12]), net.HardwareAddr(b[:6]))
	typ, vlans, at := EtherType(b)
	for _, v := range vlans {
		line += fmt.Sprintf("vlan %d, ", v&0xfff)
	}
	if at == 0 {
		return line + "vlan tag cut"
	}
	return line + FormatAs(typ, b[at:])
}

// FormatAs returns one line about b, which is what a frame of that EtherType carries.
func FormatAs(typ uint16, b []byte) string {
	switch {
	case typ == 0x0800 || typ == 0x86dd:
		return Format(b)
	case typ == 0x0806:
		return arp(b)
	case typ < 0x0600: // IEEE 802.3
		return fmt.Sprintf("802.3, length %d", typ)
	}
	return fmt.Sprintf("ethertype 0x%04x, length %d", typ, len(b))
}

// EtherType returns the type of what the frame b carries, the tags of its VLANs from the outermost, and where what it
// carries begins; 0 where it is cut before that.
func EtherType(b []byte) (typ uint16, vlans []uint16, at int) {
	for at = 12; len(b) >= at+2; at += 4 {
		typ = binary.BigEndian.Uint16(b[at:])
		if typ != 0x8100 && typ != 0x88a8 {
			return typ, vlans, at + 2
		}
		if len(b) < at+4 {
			break
		}
		vlans = append(vlans, binary.BigEndian.Uint16(b[at+2:]))
	}
	return 0, vlans, 0
}

// arp knows Ethernet and IPv4 alone.
func arp(b []byte) string {
	if len(b) < 28 {
		return fmt.Sprintf("ARP cut after %d bytes", len(b))
	}
	if binary.BigEndian.Uint32(b) != 1<<16|0x0800 || binary.BigEndian.Uint16(b[4:]) != 6<<8|4 {
		return fmt.Sprintf("ARP of other kinds of addresses, length %d", len(b))
	}
	sender, target := addr(b[14:18]), addr(b[24:28])
	switch op := binary.BigEndian.Uint16(b[6:]); op {
	case 1:
		return fmt.Sprintf("ARP, who has %v tell %v, length %d", target, sender, len(b))
	case 2:
		return fmt.Sprintf("ARP, %v is at %v, length %d", sender, net.HardwareAddr(b[8:14]), len(b))
	default:
		return fmt.Sprintf("ARP, operation %d, length %d", op, len(b))
	}
}
