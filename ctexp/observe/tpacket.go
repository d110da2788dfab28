package observe

import (
	"encoding/binary"
	"fmt"
	"time"
)

// rawFrame is a frame as the kernel gives it, in memory that is used again.
type rawFrame struct {
	time      time.Time
	link      int32  // index; zero in a ring: the kernel has not finished writing the frame
	protocol  uint16 // EtherType
	direction uint8  // of include/uapi/linux/if_packet.h, PACKET_OUTGOING and others
	packet    []byte
	cut       bool // there was more of the packet
}

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
	frameNet     = 26
	frameHeader  = 48

	llProtocol = frameHeader + 2
	llIfindex  = frameHeader + 4
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
	begin, n := int(binary.NativeEndian.Uint16(b[frameNet:])), binary.NativeEndian.Uint32(b[frameSnaplen:])
	if uint64(begin)+uint64(n) > uint64(len(b)) {
		return rawFrame{}, fmt.Errorf("ring frame at offset %d: a packet of %d bytes at %d does not fit into %d", at, n, begin, len(b))
	}
	return rawFrame{
		time: time.Unix(int64(binary.NativeEndian.Uint32(b[frameSec:])), int64(binary.NativeEndian.Uint32(b[frameNsec:]))),
		link: int32(binary.NativeEndian.Uint32(b[llIfindex:])),
		// sll_protocol is in the order of the network.
		protocol:  binary.BigEndian.Uint16(b[llProtocol:]),
		direction: b[llPkttype],
		packet:    b[begin:][:n:n],
		cut:       binary.NativeEndian.Uint32(b[frameLen:]) > n,
	}, nil
}
