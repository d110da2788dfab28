package observe

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/ctexp/go-ctexp/internal/header"
)

// rawFrame is a frame as the kernel gives it, in memory that is used again.
type rawFrame struct {
	time      time.Time
	link      int32  // index; zero in a ring: the kernel has not finished writing the frame
	protocol  uint16 // EtherType
	hardware  uint16 // the kind of the link, of include/uapi/linux/if_arp.h
	direction uint8  // of include/uapi/linux/if_packet.h, PACKET_OUTGOING and others
	bytes     []byte // from the header of the link layer on
	network   int    // where the packet begins in them
	vlanTag
	cut bool // there was more of the packet
}

// vlanTag is the outermost tag of a VLAN, which the kernel keeps beside the frame.
type vlanTag struct {
	tagged    bool
	tpid, tci uint16
}

// tagOf returns the tag that a frame with that status has.
func tagOf(status uint32, tpid, tci uint16) vlanTag {
	switch {
	case status&tpStatusVLAN == 0:
		return vlanTag{}
	case status&tpStatusTPID == 0:
		tpid = header.EtherTypeVLAN
	}
	return vlanTag{true, tpid, tci}
}

// Bits of the status (include/uapi/linux/if_packet.h, TP_STATUS_VLAN_VALID and TP_STATUS_VLAN_TPID_VALID).
const (
	tpStatusVLAN = 1 << 4
	tpStatusTPID = 1 << 6
)

// The layout of a block of TPACKET_V3 (include/uapi/linux/if_packet.h, struct tpacket_block_desc and tpacket_hdr_v1) …
const (
	blockStatus  = 8
	blockPackets = 12
	blockFirst   = 16
	blockHeader  = 48
)

// … and of a frame in it (struct tpacket3_hdr, behind which lies a struct sockaddr_ll).
const (
	frameNext    = 0
	frameSec     = 4
	frameNsec    = 8
	frameSnaplen = 12
	frameLen     = 16
	frameStatus  = 20
	frameMAC     = 24
	frameNet     = 26
	frameTCI     = 32
	frameTPID    = 36
	frameHeader  = 48

	llProtocol = frameHeader + 2
	llIfindex  = frameHeader + 4
	llHatype   = frameHeader + 8
	llPkttype  = frameHeader + 10
	frameLLEnd = frameHeader + 20
)

// nextFrame returns where the frame with this index begins in a block; at is where the one before it does.
func nextFrame(block []byte, index, at int) (int, error) {
	if len(block) < blockHeader {
		return 0, fmt.Errorf("ring block of %d bytes: shorter than its header", len(block))
	}
	next := uint64(binary.NativeEndian.Uint32(block[blockFirst:]))
	if index > 0 {
		if at < 0 || at+frameLLEnd > len(block) {
			return 0, fmt.Errorf("ring frame %d at offset %d of %d", index-1, at, len(block))
		}
		step := uint64(binary.NativeEndian.Uint32(block[at+frameNext:]))
		if step == 0 {
			return 0, fmt.Errorf("ring frame %d at offset %d says that it is the last one", index-1, at)
		}
		next = uint64(at) + step
	}
	if next+frameLLEnd > uint64(len(block)) {
		return 0, fmt.Errorf("ring frame %d would begin at offset %d of %d", index, next, len(block))
	}
	return int(next), nil
}

// parseFrame returns the frame that begins at an offset that nextFrame gave. Its packet lies in the block.
func parseFrame(block []byte, at int) (rawFrame, error) {
	b := block[at:]
	begin, n := int(binary.NativeEndian.Uint16(b[frameMAC:])), binary.NativeEndian.Uint32(b[frameSnaplen:])
	network := int(binary.NativeEndian.Uint16(b[frameNet:]))
	if network < begin || uint64(begin)+uint64(n) > uint64(len(b)) {
		return rawFrame{}, fmt.Errorf("ring frame at offset %d: %d bytes at %d, with a packet at %d, do not fit into %d",
			at, n, begin, network, len(b))
	}
	return rawFrame{
		time: time.Unix(int64(binary.NativeEndian.Uint32(b[frameSec:])), int64(binary.NativeEndian.Uint32(b[frameNsec:]))),
		link: int32(binary.NativeEndian.Uint32(b[llIfindex:])),
		// sll_protocol is in the order of the network.
		protocol:  binary.BigEndian.Uint16(b[llProtocol:]),
		hardware:  binary.NativeEndian.Uint16(b[llHatype:]),
		direction: b[llPkttype],
		bytes:     b[begin:][:n:n],
		network:   network - begin,
		vlanTag: tagOf(binary.NativeEndian.Uint32(b[frameStatus:]),
			binary.NativeEndian.Uint16(b[frameTPID:]), uint16(binary.NativeEndian.Uint32(b[frameTCI:]))),
		cut: binary.NativeEndian.Uint32(b[frameLen:]) > n,
	}, nil
}
