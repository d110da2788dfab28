package observe

import (
	"encoding/binary"
	"slices"

	"github.com/ctexp/go-ctexp/internal/header"
)

// Kinds of links that have the header of Ethernet (include/uapi/linux/if_arp.h); loopback's is all zeros.
const (
	arphrdEther    = 1
	arphrdLoopback = 772
)

// parts returns what Ethernet has put in front of a packet, with the tag that the kernel has taken out of it
// (net/core/skbuff.c, skb_vlan_untag), what the packet is, and the packet.
func (r rawFrame) parts() (ethernet []byte, typ uint16, packet []byte) {
	network := min(r.network, len(r.bytes))
	if r.hardware != arphrdEther && r.hardware != arphrdLoopback || len(r.bytes) < header.EthernetSize {
		return nil, r.protocol, r.bytes[network:]
	}
	b := r.bytes
	if r.tagged {
		tag := binary.BigEndian.AppendUint16(nil, r.tpid)
		b = slices.Concat(b[:12], binary.BigEndian.AppendUint16(tag, r.tci), b[12:])
	}
	f := header.ParseFrame(b)
	if f.Cut {
		return b[:header.EthernetSize], r.protocol, b[header.EthernetSize:]
	}
	return b[:f.Payload], f.EtherType, b[f.Payload:]
}
