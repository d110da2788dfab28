package header

import "encoding/binary"

// EthernetSize is the length of an Ethernet header without tags: two addresses and the EtherType.
const EthernetSize = 14

// EtherTypes (include/uapi/linux/if_ether.h).
const (
	EtherTypeIPv4 = 0x0800
	EtherTypeARP  = 0x0806
	EtherTypeVLAN = 0x8100 // 802.1Q tag
	EtherTypeIPv6 = 0x86dd
	EtherTypeQinQ = 0x88a8 // 802.1ad tag

	// MinEtherType is the lowest EtherType. A lower value is the length of an IEEE 802.3 frame (ETH_P_802_3_MIN).
	MinEtherType = 0x0600
)

// tagSize is the length of a VLAN tag.
const tagSize = 4

// Frame describes the headers of an Ethernet frame.
type Frame struct {
	// EtherType is the payload's EtherType, behind all tags; 0 if the frame is truncated before it.
	EtherType uint16
	// Tags is the number of tags whose control information is present.
	Tags int
	// Payload is the offset of the payload: behind the header and all complete tags.
	Payload int
	// Cut reports that the frame ends within its header or before the EtherType behind a tag.
	Cut bool
}

// ParseFrame reads the Ethernet header and the VLAN tags at the start of b.
func ParseFrame(b []byte) Frame {
	if len(b) < EthernetSize {
		return Frame{Cut: true}
	}
	f := ParseTags(OuterType(b), b[EthernetSize:])
	f.Payload += EthernetSize
	return f
}

// ParseTags reads the VLAN tags at the start of b. The argument typ is the EtherType before b, which says whether a tag
// follows. Each tag in b consists of the control information and the EtherType of what comes next.
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

// IsTag reports whether Linux treats an EtherType as a VLAN tag (include/linux/if_vlan.h, eth_type_vlan). It does not
// for 0x9100, which some switches used before 802.1ad.
func IsTag(typ uint16) bool { return typ == EtherTypeVLAN || typ == EtherTypeQinQ }

// OuterType returns the EtherType in the Ethernet header of the frame b, which may be that of a tag. It returns 0 if
// the header is truncated.
func OuterType(b []byte) uint16 {
	if len(b) < EthernetSize {
		return 0
	}
	return binary.BigEndian.Uint16(b[EthernetSize-2:])
}

// VLANs returns the VLAN IDs of the frame b, outermost tag first; nil without tags.
func (f Frame) VLANs(b []byte) []uint16 {
	var ids []uint16
	for i := range f.Tags {
		ids = append(ids, VLAN(b[EthernetSize+tagSize*i:]))
	}
	return ids
}

// VLAN returns the VLAN ID in the tag control information at the start of b.
func VLAN(b []byte) uint16 { return binary.BigEndian.Uint16(b) & 0xfff }

// EtherTypeOf returns the EtherType for a packet: that of IPv6 if its version is 6, else that of IPv4.
func EtherTypeOf(packet []byte) uint16 {
	if Version(packet) == 6 {
		return EtherTypeIPv6
	}
	return EtherTypeIPv4
}
