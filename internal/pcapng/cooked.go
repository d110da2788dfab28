package pcapng

import "encoding/binary"

// The numbers of LINKTYPE_LINUX_SLL (https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL.html).
const (
	sllToUs = 0
	sllByUs = 4

	arphrdVoid = 0xffff // include/uapi/linux/if_arp.h, ARPHRD_VOID: nothing is known of the link layer
)

// cookedHeader appends the header of a cooked packet to b: the direction and what the packet is. It has room for an
// address of the link layer, which is left empty.
func cookedHeader(b []byte, p Packet) []byte {
	direction := uint16(sllToUs)
	if p.Out {
		direction = sllByUs
	}
	b = binary.BigEndian.AppendUint16(b, direction)
	b = binary.BigEndian.AppendUint16(b, arphrdVoid)
	b = append(b, make([]byte, 2+8)...) // length of the address, address
	return binary.BigEndian.AppendUint16(b, p.EtherType)
}
