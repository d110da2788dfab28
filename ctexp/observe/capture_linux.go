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
//
// It begins with a socket, which receives each frame as a datagram, unless the Config wants a ring. A ring takes the place of
// the socket when there are many frames.
type capture struct {
	*mmsg.Pump // of the socket, or of the ring of the Config; its mutex is held while either is read
	ring       atomic.Pointer[ring]
	links      links.Names
	lo         int32 // index of the loopback link
	times      stamps
	log        framelog

	onlyRing bool
	group    int                      // what a ring joins to take the place of the socket; 0: none can
	do       func(func() error) error // runs a function in the namespace; nil: no ring takes the socket's place, or no more
	came     int                      // frames that the socket has received
	later    *mmsg.Pump               // of the ring that took the socket's place
	stopped  bool
}

// usualRing captures a flood without loss, where all frames must be copied when they arrive.
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
		c.ring.Load().unmap()
		_ = unix.Close(fd)
		return nil, fmt.Errorf("set up packet socket: %w", err)
	}
	if c.Pump, err = mmsg.StartPump(os.NewFile(uintptr(fd), "packet socket"), "packet socket", c.read); err != nil {
		c.ring.Load().unmap()
		return nil, err
	}
	return c, nil
}

func (c *capture) setUp(fd int, cfg Config) (err error) {
	if c.lo, err = linkIndex(fd, "lo"); err != nil {
		return err
	}
	if cfg.Ring > 0 {
		var r *ring
		r, err = newRing(fd, cfg.Ring)
		c.ring.Store(r)
		c.onlyRing = true
	} else if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err == nil {
		if err = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err == nil {
			err = enlarge(fd, captureBuffer)
		}
	}
	if err != nil {
		return err
	}
	c.times.empty = time.Now()
	if err := bindToAll(fd); err != nil {
		return err
	}
	if !c.onlyRing {
		c.group, _ = fanout(fd) // without a group the socket goes on
	}
	return nil
}

// bindToAll makes a packet socket receive all frames of all links.
func bindToAll(fd int) error {
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
//
// A ring that is being made is closed when the kernel has made it: waiting for that could take 15 ms.
func (c *capture) stop() {
	c.Lock()
	c.stopped, c.do = true, nil
	later := c.later
	c.Unlock()
	if later != nil {
		later.Stop()
	}
	c.Pump.Stop()
	c.ring.Load().unmap()
}

// mayGrow lets a ring take the place of the socket when there are many frames, or now. The function do runs another one in the
// namespace.
func (c *capture) mayGrow(do func(func() error) error, now bool) {
	if c.group == 0 || !ordersStores {
		return
	}
	c.Lock()
	defer c.Unlock()
	c.do = do
	if now {
		c.came = ringAfter
	}
	c.grow()
}

// grow starts to make a ring if it is time. Frames that the kernel does not time-stamp yet are the socket's: see stamps.
func (c *capture) grow() {
	if c.do != nil && c.came >= ringAfter && c.times.on {
		go c.takeRing(c.do)
		c.do = nil
	}
}

// relieve is Drain for a goroutine that sends: as long as a ring has room, it leaves that to the goroutine which reads it.
func (c *capture) relieve() error {
	if r := c.ring.Load(); r != nil && !r.isHalfFull() {
		return nil
	}
	return c.Drain()
}

// read reads what the kernel has captured. Only if asked to (by Drain), it also reads the block of the ring that the
// kernel still fills.
func (c *capture) read(fd int, asked bool) error {
	r := c.ring.Load()
	var end ringEnd
	if r != nil {
		// A frame that the socket still gets when a ring takes its place is older than those in the ring, or arrives on another
		// CPU at the same time. So the socket is read after the end is known.
		end = r.end(asked)
	}
	if !c.onlyRing {
		if err := c.receive(fd); err != nil {
			return err
		}
		c.grow()
	}
	if r == nil {
		return nil
	}
	return r.read(end, func(f rawFrame) { c.add(fd, f) })
}

// receive reads all frames that are queued at the socket.
func (c *capture) receive(fd int) error {
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
		c.came += n
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
	count := func(fd int) error {
		// The older of the two structures is a prefix of the newer, and the kernel truncates (packet_getsockopt).
		st, err := unix.GetsockoptTpacketStatsV3(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
		if err != nil {
			return fmt.Errorf("statistics of the packet socket: %w", err)
		}
		c.log.dropped(uint64(st.Drops))
		return nil
	}
	c.Lock()
	later := c.later
	c.Unlock()
	if later != nil {
		if err := later.Control(count); err != nil {
			return err
		}
	}
	return c.Control(count)
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
