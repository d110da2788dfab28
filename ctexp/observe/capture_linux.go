package observe

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/internal/mmsg"
	"github.com/ctexp/go-ctexp/internal/ours"
)

// capture keeps the frames of all links of the namespace.
type capture struct {
	*mmsg.Pump
	ring  *ring // nil: frames are received one datagram each
	links map[int32]string
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
	c := &capture{links: map[int32]string{}, log: framelog{limit: cfg.maxFrames()}}
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
	link := c.link(fd, f.link)
	if strings.HasPrefix(link, ours.FarPrefix) {
		return
	}
	dir := In
	if outgoing {
		dir = Out
	}
	ethernet, typ, packet := f.parts()
	c.log.add(Frame{Time: f.time, Link: link, Dir: dir, EtherType: typ, Packet: packet, Ethernet: ethernet}, f.cut)
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

// link returns the name of a link, as it was when its first frame was read.
func (c *capture) link(fd int, index int32) string {
	if name, ok := c.links[index]; ok {
		return name
	}
	name := linkName(fd, index)
	c.links[index] = name
	return name
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

// networkOrder converts between the order of the network and that of the host.
func networkOrder(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}
