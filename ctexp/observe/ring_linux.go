package observe

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/internal/mmsg"
)

// ring is a TPACKET_V3 receive ring shared with the kernel: blocks of frames, each of which belongs either to the
// kernel, which fills it, or to user space.
//
// The kernel hands over a block when it is full or its timeout has expired. The frames in the block that it still
// fills can be read as well, so that a frame is available as soon as the write that injected it has returned.
type ring struct {
	memory []byte
	size   int          // of a block
	block  atomic.Int32 // index of the block to read
	frame  int          // frames of that block read so far
	offset int          // offset of the last of these
}

const (
	minRingBlock  = 128 << 10 // holds the largest packet
	maxRingBlock  = 1 << 20
	minRingBlocks = 8
	// ringRetireMS is the timeout after which the kernel hands over a block that is not full. With little traffic a
	// slow reader thus has eight times a fifth of a second.
	ringRetireMS = 200
	ringFrame    = 2048 // has no effect with TPACKET_V3, but is validated
)

// blockSize returns the block size of a ring of size bytes: a power of two that gives several blocks.
func blockSize(size int) int {
	block := minRingBlock
	for block < maxRingBlock && block*minRingBlocks < size {
		block *= 2
	}
	return block
}

// newRing makes fd deliver into a ring of at least size bytes. It waits for an RCU grace period.
func newRing(fd, size int) (*ring, error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return nil, fmt.Errorf("set TPACKET_V3: %w", err)
	}
	block := blockSize(size)
	blocks := max(minRingBlocks, (size+block-1)/block)
	req := unix.TpacketReq3{
		Block_size: uint32(block), Block_nr: uint32(blocks),
		Frame_size: ringFrame, Frame_nr: uint32(blocks * (block / ringFrame)),
		Retire_blk_tov: ringRetireMS,
	}
	if err := unix.SetsockoptTpacketReq3(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return nil, fmt.Errorf("create ring of %d bytes: %w", blocks*block, err)
	}
	memory, err := unix.Mmap(fd, 0, blocks*block, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map ring of %d bytes: %w", blocks*block, err)
	}
	return &ring{memory: memory, size: block}, nil
}

// unmap unmaps the ring. The recorded packets are copies.
func (r *ring) unmap() {
	if r != nil && r.memory != nil {
		_ = unix.Munmap(r.memory)
		r.memory = nil
	}
}

// blocks returns how many blocks the ring has.
func (r *ring) blocks() int { return len(r.memory) / r.size }

// at returns the block that is n blocks behind the one to read, and its status.
func (r *ring) at(n int) (block []byte, status *uint32) {
	b := r.memory[(int(r.block.Load())+n)%r.blocks()*r.size:][:r.size]
	return b, (*uint32)(unsafe.Pointer(&b[blockStatus]))
}

// isHalfFull reports whether half of the blocks wait to be read. Anybody may ask while another goroutine reads.
func (r *ring) isHalfFull() bool {
	_, status := r.at(r.blocks()/2 - 1)
	return atomic.LoadUint32(status)&unix.TP_STATUS_USER != 0
}

// ringEnd says how much of a ring is to be read: so many whole blocks, and so many frames of the next one.
type ringEnd struct{ blocks, frames int }

// end returns where the ring ends now: with the last block that was handed over or, if open is set, with the last frame in
// the one that is being filled.
func (r *ring) end(open bool) (e ringEnd) {
	for ; e.blocks < r.blocks(); e.blocks++ {
		b, status := r.at(e.blocks)
		if atomic.LoadUint32(status)&unix.TP_STATUS_USER != 0 {
			continue
		}
		if open {
			e.frames = int(atomic.LoadUint32((*uint32)(unsafe.Pointer(&b[blockPackets]))))
		}
		break
	}
	return e
}

// read calls add for each frame up to the end.
//
// In the block that is being filled the kernel counts a frame before it writes it (net/packet/af_packet.c,
// prb_fill_curr_block), and writes the index of the link last (tpacket_rcv). As all memory is zero when the kernel gets it,
// a frame with an index is complete. This order of writes is guaranteed on machines that keep the order of stores, such as
// x86, and elsewhere while nothing is injected.
func (r *ring) read(end ringEnd, add func(f rawFrame)) error {
	for range end.blocks {
		b, status := r.at(0)
		packets := int(atomic.LoadUint32((*uint32)(unsafe.Pointer(&b[blockPackets]))))
		if err := r.readBlock(b, packets, true, add); err != nil {
			return err
		}
		clear(b[blockHeader:])
		r.frame, r.offset = 0, 0
		atomic.StoreUint32(status, unix.TP_STATUS_KERNEL)
		r.block.Store((r.block.Load() + 1) % int32(r.blocks()))
	}
	b, _ := r.at(0)
	return r.readBlock(b, end.frames, false, add)
}

// readBlock reads the block up to so many frames, or up to the first one that is not whole.
func (r *ring) readBlock(b []byte, packets int, whole bool, add func(f rawFrame)) error {
	for r.frame < packets {
		at, err := nextFrame(b, r.frame, r.offset)
		if err != nil {
			return err
		}
		if !whole && atomic.LoadUint32((*uint32)(unsafe.Pointer(&b[at+llIfindex]))) == 0 {
			return nil // the rest is still being written
		}
		f, err := parseFrame(b, at)
		if err != nil {
			return err
		}
		add(f)
		r.frame, r.offset = r.frame+1, at
	}
	return nil
}

// ordersStores says that a machine keeps the order of stores. On others a ring takes the place of no socket: see ring.read.
const ordersStores = runtime.GOARCH == "amd64" || runtime.GOARCH == "386" || runtime.GOARCH == "s390x"

const (
	// ringAfter is the number of frames after which a ring takes the place of a socket: to make it takes the CPU time that
	// it saves with as many.
	ringAfter = 512
	// laterRing is the size of such a ring. It holds about 24,000 small frames.
	laterRing = 4 << 20
)

// fanout makes the packet socket fd, which must be bound, the first member of a group and returns how others join it.
//
// A program of the group decides which member gets a frame; as long as there is none, it is the first one
// (net/packet/af_packet.c, fanout_demux_bpf). The kernel takes another program between two frames, so that no frame is
// missing or comes twice when a ring takes the place of a socket.
func fanout(fd int) (group int, err error) {
	const own = unix.PACKET_FANOUT_FLAG_UNIQUEID
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_FANOUT, (unix.PACKET_FANOUT_CBPF|own)<<16); err != nil {
		return 0, err
	}
	return unix.GetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_FANOUT)
}

// setProgram sets a program that returns n for each frame.
func setProgram(fd, level, option int, n uint32) error {
	program := [1]unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: n}}
	return unix.SetsockoptSockFprog(fd, level, option, &unix.SockFprog{Len: 1, Filter: &program[0]})
}

// joinFanout opens a packet socket that delivers into a ring and is the second member of the group.
func joinFanout(do func(func() error) error, group int) (socket *os.File, r *ring, err error) {
	fd := -1
	err = do(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	// The kernel wants the members to be bound, from when on a socket gets all frames. This one drops them, until newRing has
	// waited for the CPUs that know it as a socket of its own.
	err = setProgram(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, 0)
	if err == nil {
		err = bindToAll(fd)
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_FANOUT, group)
	}
	if err == nil {
		r, err = newRing(fd, laterRing)
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
	}
	if err != nil {
		r.unmap()
		return nil, nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "packet ring"), r, nil
}

// takeRing makes a ring take the place of the socket. Where the kernel does not make one, for lack of memory for instance,
// the socket goes on.
func (c *capture) takeRing(do func(func() error) error) {
	socket, r, err := joinFanout(do, c.group)
	if err != nil {
		return
	}
	pump, err := mmsg.StartPump(socket, "packet ring", func(int, bool) error { return c.Drain() })
	if err != nil {
		r.unmap()
		return
	}
	if !c.addRing(r, pump) {
		pump.Stop()
		r.unmap()
		return
	}
	_ = pump.Control(func(fd int) error { return setProgram(fd, unix.SOL_PACKET, unix.PACKET_FANOUT_DATA, 1) })
}

// addRing makes Drain read the ring, too, unless the capture has ended.
func (c *capture) addRing(r *ring, pump *mmsg.Pump) bool {
	c.Lock()
	defer c.Unlock()
	if c.stopped {
		return false
	}
	c.later = pump
	c.ring.Store(r)
	return true
}
