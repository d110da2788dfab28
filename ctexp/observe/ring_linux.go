package observe

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring is a receive ring of TPACKET_V3 that is shared with the kernel: blocks of frames, each of which belongs either
// to the kernel, which fills it, or to us.
//
// A block is handed over when it is full or its time is over. But what the kernel has put into
// the block that it still fills can be read, too, so that a frame is there as soon as the write that injected it has
// returned.
type ring struct {
	memory []byte
	size   int // of a block
	block  int // the one to be read
	frame  int // frames of it that were read
	offset int // of the last one of these in the block
}

const (
	minRingBlock  = 128 << 10 // holds the largest packet
	maxRingBlock  = 1 << 20
	minRingBlocks = 8
	// ringRetireMS is when a block is handed over that is not full. Eight of these, a fifth of a second each, are how
	// long a sleepy reader may take while there is hardly any traffic.
	ringRetireMS = 200
	ringFrame    = 2048 // of no meaning to TPACKET_V3, but checked
)

// blockSize returns the size of the blocks of a ring of size bytes: a power of two, so that there are some of them.
func blockSize(size int) int {
	block := minRingBlock
	for block < maxRingBlock && block*minRingBlocks < size {
		block *= 2
	}
	return block
}

// newRing makes fd, which must not be bound yet, deliver into a ring of at least size bytes.
func newRing(fd, size int) (*ring, error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return nil, fmt.Errorf("ask for TPACKET_V3: %w", err)
	}
	block := blockSize(size)
	blocks := max(minRingBlocks, (size+block-1)/block)
	req := unix.TpacketReq3{
		Block_size: uint32(block), Block_nr: uint32(blocks),
		Frame_size: ringFrame, Frame_nr: uint32(blocks * (block / ringFrame)),
		Retire_blk_tov: ringRetireMS,
	}
	if err := unix.SetsockoptTpacketReq3(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return nil, fmt.Errorf("make a ring of %d bytes: %w", blocks*block, err)
	}
	memory, err := unix.Mmap(fd, 0, blocks*block, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map a ring of %d bytes: %w", blocks*block, err)
	}
	return &ring{memory: memory, size: block}, nil
}

// unmap gives the memory back. The packets of frames that were read are copies.
func (r *ring) unmap() {
	if r != nil && r.memory != nil {
		_ = unix.Munmap(r.memory)
		r.memory = nil
	}
}

// read calls add for each frame in the blocks that were handed over and, if open, in the one that is being filled.
//
// In that one the kernel counts a frame before it writes it (net/packet/af_packet.c, prb_fill_curr_block), the index
// of the link last of all (tpacket_rcv). As all memory is zero when the kernel gets it, a frame with an index is
// complete; with that order of writes it is certain on machines that keep it, x86 among them, and elsewhere while
// nothing is being injected.
func (r *ring) read(open bool, add func(f rawFrame)) error {
	for {
		b := r.memory[r.block*r.size:][:r.size]
		status := (*uint32)(unsafe.Pointer(&b[blockStatus]))
		// The order matters: when the block is ours the count does not change any more.
		ours := atomic.LoadUint32(status)&unix.TP_STATUS_USER != 0
		if !ours && !open {
			return nil
		}
		packets := int(atomic.LoadUint32((*uint32)(unsafe.Pointer(&b[blockPackets]))))
		for r.frame < packets {
			at, err := nextFrame(b, r.frame, r.offset)
			if err != nil {
				return err
			}
			if !ours && atomic.LoadUint32((*uint32)(unsafe.Pointer(&b[at+llIfindex]))) == 0 {
				return nil // the rest is still being written
			}
			f, err := parseFrame(b, at)
			if err != nil {
				return err
			}
			add(f)
			r.frame, r.offset = r.frame+1, at
		}
		if !ours {
			return nil
		}
		clear(b[blockHeader:])
		atomic.StoreUint32(status, unix.TP_STATUS_KERNEL)
		r.block, r.frame, r.offset = (r.block+1)%(len(r.memory)/r.size), 0, 0
	}
}
