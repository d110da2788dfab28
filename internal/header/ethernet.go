package header

import "encoding/binary"

// EthernetSize is the length of the Ethernet header: two addresses and a type.
const EthernetSize = 14

// EtherTypes (include/uapi/linux/if_ether.h).
const (
	EtherTypeIPv4 = 0x0800
	EtherTypeARP  = 0x0806
	EtherTypeVLAN = 0x8100 // a tag of 802.1Q
	EtherTypeIPv6 = 0x86dd
	EtherTypeQinQ = 0x88a8 // a tag of 802.1ad

	// MinEtherType is the least: what is less is the length of an IEEE 802.3 frame (ETH_P_802_3_MIN).
	MinEtherType = 0x0600
)

// tagSize is the length of a tag, which stands in front of the type.
const tagSize = 4

// Frame says what an Ethernet frame has in front of its payload.
type Frame struct {
	// EtherType is that of the payload, behind all tags; 0 where it is cut.
	EtherType uint16
	// Tags is the number of tags whose identifier is there.
	Tags int
	// Payload is where the payload begins: behind the header and the tags that are followed by a type.
	Payload int
	// Cut reports that the frame ends within its header, or before the type behind a tag.
	Cut bool
}

// ParseFrame reads the Ethernet header that b begins with and the tags of VLANs behind it.
func ParseFrame(b []byte) Frame {
	if len(b) < EthernetSize {
		return Frame{Cut: true}
	}
	f := ParseTags(OuterType(b), b[EthernetSize:])
	f.Payload += EthernetSize
	return f
}

// ParseTags reads the tags that b begins with. The EtherType in front of b says whether there is one: of each tag, b has
// the identifier and then the type of what comes next.
func ParseTags(typ uint16, b []byte) Frame {
	f := Frame{EtherType: typ}
	for IsTag(f.EtherType) {
		if len(b) < f.Payload+tagSize {
			if len(b) >= f.Payload+2 {
				f.Tags++
			}
			return Frame{Tags: f.Tags, Payload: f.Payload, Cut: true}
		}
		f.EtherType = binary.BigEndian.Uint16(b[f.Payload+2:])
		f.Payload += tagSize
		f.Tags++
	}
	return f
}

// IsTag reports whether an EtherType is that of a VLAN tag to Linux (include/linux/if_vlan.h, eth_type_vlan). It does not
// know 0x9100, by which some switches tagged before 802.1ad.
func IsTag(typ uint16) bool { return typ == EtherTypeVLAN || typ == EtherTypeQinQ }

// OuterType returns the type in the Ethernet header of the frame b, which may be that of a tag; 0 where it is cut.
func OuterType(b []byte) uint16 {
	if len(b) < EthernetSize {
		return 0
	}
	return binary.BigEndian.Uint16(b[EthernetSize-2:])
}

// VLANs returns the ids of the VLANs of the frame b, from the outermost tag; nil without tags.
func (f Frame) VLANs(b []byte) []uint16 {
	var ids []uint16
	for i := range f.Tags {
		ids = append(ids, VLAN(b[EthernetSize+tagSize*i:]))
	}
	return ids
}

// VLAN returns the id in the identifier of a tag, which b begins with.
func VLAN(b []byte) uint16 { return binary.BigEndian.Uint16(b) & 0xfff }

// EtherTypeOf returns the EtherType of a packet by its version: that of IPv4 unless it is 6.
func EtherTypeOf(packet []byte) uint16 {
	if Version(packet) == 6 {
		return EtherTypeIPv6
	}
	return EtherTypeIPv4
}
