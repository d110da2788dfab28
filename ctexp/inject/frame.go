package inject

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/pktline"
)

// Frame is one frame of Ethernet, without its checksum. Any bytes will do, as with Packet.
type Frame []byte

// Frame returns p in a frame from one address of Ethernet to another. The type is that of p's IP version, IPv4 where it
// has none.
func (p Packet) Frame(src, dst nf.MAC) Frame {
	return frame(src, dst, header.EtherTypeOf(p), p)
}

func frame(src, dst nf.MAC, typ uint16, payload []byte) Frame {
	f := make(Frame, 0, header.EthernetSize+len(payload))
	f = append(append(f, dst[:]...), src[:]...)
	f = binary.BigEndian.AppendUint16(f, typ)
	return append(f, payload...)
}

// VLAN returns a copy of f with a tag of 802.1Q in front of those that it has. It panics where id has more than 12 bits
// or f no whole header.
func (f Frame) VLAN(id uint16) Frame {
	if id >= 1<<12 || len(f) < header.EthernetSize {
		panic(fmt.Sprintf("inject: VLAN %d on %v", id, f))
	}
	tag := []byte{header.EtherTypeVLAN >> 8, header.EtherTypeVLAN & 0xff, byte(id >> 8), byte(id)}
	return slices.Insert(slices.Clone(f), 12, tag...)
}

// Packet returns the packet in f, whose tags are passed over; nil if it carries something else.
func (f Frame) Packet() Packet {
	h := header.ParseFrame(f)
	if h.EtherType != header.EtherTypeIPv4 && h.EtherType != header.EtherTypeIPv6 {
		return nil
	}
	return slices.Clone(Packet(f[h.Payload:]))
}

// String returns one line in the manner of tcpdump -e:
//
//	02:00:00:00:00:02 > 02:00:00:00:00:01, vlan 5, IP 198.18.0.2.10000 > 192.0.2.1.80: Flags [S], seq 1, …
func (f Frame) String() string { return pktline.FormatFrame(f) }
