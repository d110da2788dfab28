package observe

import (
	"encoding/binary"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
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
