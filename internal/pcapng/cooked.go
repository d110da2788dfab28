package pcapng

import "encoding/binary"

// The numbers of LINKTYPE_LINUX_SLL (https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL.html).
const (
	sllToUs = 0
	sllByUs = 4

	arphrdEther = 1      // include/uapi/linux/if_arp.h
	arphrdVoid  = 0xffff // likewise, ARPHRD_VOID: nothing is known of the link layer
)

// cookedHeader appends the header of a cooked packet to b: the direction, the sender's address of Ethernet where it is
// known, and what the packet is. Tags of VLANs stand where libpcap puts them, from the last field of the header on.
func cookedHeader(b []byte, p Packet) []byte {
	direction := uint16(sllToUs)
	if p.Out {
		direction = sllByUs
	}
	b = binary.BigEndian.AppendUint16(b, direction)
	if len(p.Ethernet) >= 14 {
		b = binary.BigEndian.AppendUint16(b, arphrdEther)
		b = append(b, 0, 6)
		b = append(b, p.Ethernet[6:12]...)
		return append(append(b, 0, 0), p.Ethernet[12:]...)
	}
	b = binary.BigEndian.AppendUint16(b, arphrdVoid)
	b = append(b, make([]byte, 2+8)...) // length of the address, address
	return binary.BigEndian.AppendUint16(b, p.EtherType)
}
