package observe

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/links"
	"github.com/ctexp/go-ctexp/internal/mmsg"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// Frames returns the frames that went over all links, from Open until the iteration begins, in the order in which the
// kernel saw them. A forwarded frame appears twice, In and Out; a frame on loopback once, In; a frame injected into
// the far end of a veth link once, In.
//
// If frames are missing, the iteration ends in ErrFramesLost with their number: the kernel's buffer was full (call
// Drain while sending, or set Config.Ring), the limit of Config.MaxFrames was reached, or a frame was larger than 64 KiB
// and is truncated. With Config.NoFrames the error is ErrOff.
func (o *Observer) Frames(ctx context.Context) iter.Seq2[packet.Record, error] {
	return recordingEach(ctx, o, "frames", ErrFramesLost, o.readFrames)
}

func (o *Observer) readFrames(ctx context.Context) (iter.Seq[packet.Record], lostFrames, error) {
	release, err := o.use(ctx)
	if err != nil {
		return nil, lostFrames{}, err
	}
	defer release()
	if o.capture == nil {
		return nil, lostFrames{}, turnedOff("frames", "the Observer was opened with NoFrames")
	}
	if err := o.whole(); err != nil {
		return nil, lostFrames{}, err
	}
	if err := o.capture.Drain(); err != nil {
		return nil, lostFrames{}, err
	}
	if err := o.capture.countDropped(); err != nil {
		return nil, lostFrames{}, err
	}
	frames, lost := o.capture.log.snapshot()
	if o.reasons != nil {
		if err := o.reasons.Drain(); err != nil {
			return nil, lostFrames{}, err
		}
		if classes, _ := o.reasons.log.classifiedPackets(); len(classes) > 0 {
			return slices.Values(withClasses(frames.list(), classes)), lost, nil
		}
	}
	return frames.all(), lost, nil
}

// capture records the frames of all links of the namespace.
type capture struct {
	*mmsg.Pump
	ring  *ring // nil: each frame is received as a datagram
	links links.Names
	lo    int32 // index of the loopback link
	times stamps
	log   framelog
}

// usualRing captures a flood without loss.
const usualRing = 8 << 20

// captureBuffer holds about 10,000 small frames if the host's rmem_max allows it.
const captureBuffer = 8 << 20

// startCapture must be called on a thread in the namespace.
func startCapture(cfg Config) (*capture, error) {
	// Protocol 0 captures nothing before the bind, so that every frame has its time stamp.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	c := &capture{links: links.Names{}, log: cfg.framelog()}
	if err := c.setUp(fd, cfg); err != nil {
		c.ring.unmap()
		_ = unix.Close(fd)
		return nil, fmt.Errorf("set up packet socket: %w", err)
	}
	read := c.receive
	if c.ring != nil {
		read = c.readRing
	}
	if c.Pump, err = mmsg.StartPump(os.NewFile(uintptr(fd), "packet socket"), "packet socket", read); err != nil {
		c.ring.unmap()
		return nil, err
	}
	return c, nil
}

func (c *capture) setUp(fd int, cfg Config) (err error) {
	if c.lo, err = linkIndex(fd, "lo"); err != nil {
		return err
	}
	if cfg.Ring > 0 {
		c.ring, err = newRing(fd, cfg.Ring)
	} else if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err == nil {
		if err = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err == nil {
			err = enlarge(fd, captureBuffer)
		}
	}
	if err != nil {
		return err
	}
	c.times.empty = time.Now()
	return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL)})
}

// enlarge requests a receive buffer of n bytes, and accepts what an ordinary user may have.
func enlarge(fd, n int) error {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, n) == nil {
		return nil
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, n) // the kernel limits n to net.core.rmem_max
}

// stop ends the capture. The recorded frames remain readable.
func (c *capture) stop() {
	c.Pump.Stop()
	c.ring.unmap()
}

// receive reads all queued frames.
func (c *capture) receive(fd int, _ bool) error {
	b := mmsg.GetBuffer()
	defer b.Free()
	for {
		now := time.Now()
		n, err := b.Receive(fd)
		switch {
		case err == unix.EAGAIN:
			c.times.empty = now
			return nil
		case err == unix.ENETDOWN: // a link went down (net/packet/af_packet.c, packet_notifier); the others still work
			continue
		case err != nil:
			return fmt.Errorf("receive frames: %w", err)
		}
		for i := range n {
			from, control := b.From(i), b.Control(i)
			network, tag := auxdata(control)
			f := rawFrame{
				time: c.times.of(timestamp(control), now), bytes: b.Payload(i), network: network, vlanTag: tag,
				link: from.Ifindex, protocol: networkOrder(from.Protocol), hardware: from.Hatype, direction: from.Pkttype,
			}
			if b.IsCut(i) {
				f.missing = 1 // or more
			}
			c.add(fd, f)
		}
	}
}

// readRing reads the frames in the ring. Only if asked to (by Observer.Drain), it also reads the block that the
// kernel still fills.
func (c *capture) readRing(fd int, asked bool) error {
	return c.ring.read(asked, func(f rawFrame) { c.add(fd, f) })
}

// add records a frame. Loopback shows each frame twice, outgoing and incoming; like tcpdump, only the latter is
// recorded. The far ends of veth links, from which packets are injected, are not recorded.
func (c *capture) add(fd int, f rawFrame) {
	outgoing := f.direction == unix.PACKET_OUTGOING
	if outgoing && f.link == c.lo {
		return
	}
	link := c.links.Name(fd, f.link)
	if strings.HasPrefix(link, ours.FarPrefix) {
		return
	}
	dir := packet.In
	if outgoing {
		dir = packet.Out
	}
	ethernet, typ, pkt := f.parts()
	r := packet.Record{Time: f.time, Link: link, Dir: dir, EtherType: typ, Packet: pkt, Ethernet: ethernet}
	if f.missing > 0 {
		r.Length = len(pkt) + f.missing
	}
	c.log.add(r)
}

// countDropped reads how many frames the kernel dropped since the last reading, which resets its counter.
func (c *capture) countDropped() error {
	return c.Control(func(fd int) error {
		// The older of the two structures is a prefix of the newer, and the kernel truncates (packet_getsockopt).
		st, err := unix.GetsockoptTpacketStatsV3(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
		if err != nil {
			return fmt.Errorf("statistics of the packet socket: %w", err)
		}
		c.log.dropped(uint64(st.Drops))
		return nil
	})
}

// auxdata returns the offset of the packet in a frame, and the VLAN tag that the kernel removed
// (net/packet/af_packet.c, packet_recvmsg).
func auxdata(control []byte) (network int, tag vlanTag) {
	for len(control) >= unix.SizeofCmsghdr { // ParseOne… reads as much
		h, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			break
		}
		if h.Level == unix.SOL_PACKET && h.Type == unix.PACKET_AUXDATA && len(data) >= int(unsafe.Sizeof(unix.TpacketAuxdata{})) {
			aux := (*unix.TpacketAuxdata)(unsafe.Pointer(&data[0]))
			return int(aux.Net), tagOf(aux.Status, aux.Vlan_tpid, aux.Vlan_tci)
		}
		control = rest
	}
	return 0, vlanTag{}
}

// timestamp returns the time stamp in the control messages of a datagram, or the current time if there is none.
func timestamp(control []byte) time.Time {
	for len(control) >= unix.SizeofCmsghdr { // ParseOne… reads as much
		h, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			break
		}
		if h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_TIMESTAMPNS {
			switch len(data) {
			case 16:
				return time.Unix(int64(binary.NativeEndian.Uint64(data)), int64(binary.NativeEndian.Uint64(data[8:])))
			case 8: // 32-bit machines
				return time.Unix(int64(int32(binary.NativeEndian.Uint32(data))), int64(binary.NativeEndian.Uint32(data[4:])))
			}
		}
		control = rest
	}
	return time.Now()
}

// networkOrder converts between network byte order and host byte order.
func networkOrder(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}

// linkIndex returns the index of a link in the namespace of the socket fd.
func linkIndex(fd int, name string) (int32, error) {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifr); err != nil {
		return 0, fmt.Errorf("index of link %q: %w", name, err)
	}
	return int32(ifr.Uint32()), nil
}

// ring is a TPACKET_V3 receive ring shared with the kernel: blocks of frames, each of which belongs either to the
// kernel, which fills it, or to user space.
//
// The kernel hands over a block when it is full or its timeout has expired. The frames in the block that it still
// fills can be read as well, so that a frame is available as soon as the write that injected it has returned.
type ring struct {
	memory []byte
	size   int // of a block
	block  int // index of the block to read
	frame  int // frames of that block read so far
	offset int // offset of the last of these
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

// newRing makes fd, which must not be bound yet, deliver into a ring of at least size bytes.
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

// read calls add for each frame in the blocks that were handed over and, if open is set, in the one that is being
// filled.
//
// In that block the kernel counts a frame before it writes it (net/packet/af_packet.c, prb_fill_curr_block), and
// writes the index of the link last (tpacket_rcv). As all memory is zero when the kernel gets it, a frame with an
// index is complete. This order of writes is guaranteed on machines that keep the order of stores, such as x86, and
// elsewhere while nothing is injected.
func (r *ring) read(open bool, add func(f rawFrame)) error {
	for {
		b := r.memory[r.block*r.size:][:r.size]
		status := (*uint32)(unsafe.Pointer(&b[blockStatus]))
		// Load the status before the count: once the block is ours, the count does not change.
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
