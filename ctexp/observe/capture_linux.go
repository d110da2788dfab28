package observe

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"os"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/mmsg"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// Frames returns the frames that went over all links since the Observer was opened until the iteration begins, in the
// order in which the kernel saw them. A frame that is forwarded is there twice, In and Out; what loopback carries,
// once, In; what was injected into the far end of a veth link, once, In.
//
// Where frames are missing the iteration ends in ErrFramesLost with how many: the kernel's buffer was full (call Drain
// while sending, or ask for a Ring), MaxFrames was reached, or a frame was larger than 64 KiB and is there in part.
// With Config.NoFrames the error is an nf.UnsupportedError.
func (o *Observer) Frames(ctx context.Context) iter.Seq2[packet.Record, error] {
	return recording(ctx, o, "frames", ErrFramesLost, o.readFrames)
}

func (o *Observer) readFrames(ctx context.Context) ([]packet.Record, lostFrames, error) {
	release, err := o.use(ctx)
	if err != nil {
		return nil, lostFrames{}, err
	}
	defer release()
	if o.capture == nil {
		return nil, lostFrames{}, &nf.UnsupportedError{Need: "frames", Hint: "the Observer was opened with NoFrames"}
	}
	if err := o.capture.Drain(); err != nil {
		return nil, lostFrames{}, err
	}
	if err := o.capture.countDropped(); err != nil {
		return nil, lostFrames{}, err
	}
	frames, lost := o.capture.log.snapshot()
	return frames, lost, nil
}

// capture keeps the frames of all links of the namespace.
type capture struct {
	*mmsg.Pump
	ring  *ring // nil: frames are received one datagram each
	links linkNames
	lo    int32 // index of the loopback link
	times stamps
	log   framelog
}

// captureBuffer holds some 10,000 small frames where the host's rmem_max allows it.
const captureBuffer = 8 << 20

// startCapture must be called on a thread in the namespace.
func startCapture(cfg Config) (*capture, error) {
	// Protocol 0: nothing is captured before the bind, so that no frame lacks its time stamp.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	c := &capture{links: linkNames{}, log: framelog{limit: cfg.maxFrames()}}
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

// enlarge asks for a receive buffer of n bytes, and takes what an ordinary user may have where more is refused.
func enlarge(fd, n int) error {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, n) == nil {
		return nil
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, n) // the kernel cuts n down to net.core.rmem_max
}

// stop ends the capture; what it has kept can still be read.
func (c *capture) stop() {
	c.Pump.Stop()
	c.ring.unmap()
}

// receive reads what is queued.
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
		case err == unix.ENETDOWN: // a link went down (net/packet/af_packet.c, packet_notifier); the others are still there
			continue
		case err != nil:
			return fmt.Errorf("receive frames: %w", err)
		}
		for i := range n {
			from, control := b.From(i), b.Control(i)
			network, tag := auxdata(control)
			c.add(fd, rawFrame{
				time: c.times.of(timestamp(control), now), bytes: b.Payload(i), network: network, vlanTag: tag, cut: b.IsCut(i),
				link: from.Ifindex, protocol: networkOrder(from.Protocol), hardware: from.Hatype, direction: from.Pkttype,
			})
		}
	}
}

// readRing reads what the ring has; only who asks for it (see Observer.Drain) reads the block that is being filled.
func (c *capture) readRing(fd int, asked bool) error {
	return c.ring.read(asked, func(f rawFrame) { c.add(fd, f) })
}

// add keeps a frame. Of loopback, where each frame is seen leaving and coming in, only the latter is kept, as by
// tcpdump; of the far ends of veth links, from which packets are injected, none.
func (c *capture) add(fd int, f rawFrame) {
	outgoing := f.direction == unix.PACKET_OUTGOING
	if outgoing && f.link == c.lo {
		return
	}
	link := c.links.name(fd, f.link)
	if strings.HasPrefix(link, ours.FarPrefix) {
		return
	}
	dir := packet.In
	if outgoing {
		dir = packet.Out
	}
	ethernet, typ, pkt := f.parts()
	c.log.add(packet.Record{Time: f.time, Link: link, Dir: dir, EtherType: typ, Packet: pkt, Ethernet: ethernet}, f.cut)
}

// countDropped learns how many frames the kernel has dropped; reading sets its count to zero.
func (c *capture) countDropped() error {
	return c.Control(func(fd int) error {
		// Of the two structures the older one is the beginning of the newer; the kernel cuts (packet_getsockopt).
		st, err := unix.GetsockoptTpacketStatsV3(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
		if err != nil {
			return fmt.Errorf("statistics of the packet socket: %w", err)
		}
		c.log.dropped(uint64(st.Drops))
		return nil
	})
}

// auxdata returns where in a frame its packet begins, and the tag that is kept beside it (net/packet/af_packet.c,
// packet_recvmsg).
func auxdata(control []byte) (network int, tag vlanTag) {
	for len(control) > 0 {
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

// timestamp returns the time in the control messages of a datagram; where there is none, now.
func timestamp(control []byte) time.Time {
	for len(control) > 0 {
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

// networkOrder converts between the order of the network and that of the host.
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
