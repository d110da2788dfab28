package netnsenv

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/songgao/water"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/header"
	"github.com/ctexp/go-ctexp/internal/links"
	"github.com/ctexp/go-ctexp/internal/mmsg"
)

// Link is the outer end of a link of an Env: packets written to it arrive at the host under test, and packets that the
// host sends are read from it. It is safe for concurrent use.
type Link struct {
	env     *Env
	cfg     LinkConfig
	kind    LinkKind
	why     error // why Auto did not choose Tun
	index   uint32
	number  int // of the Env's links, from 0 on
	dev     device
	fence   *fence
	answers *pipe // what the host sends on a veth
	written atomic.Uint64
	taken   atomic.Uint64 // packets that were read
}

// device reads and writes packets without link-layer headers at the outer end of a link.
type device interface {
	io.ReadWriteCloser
	SetReadDeadline(t time.Time) error
}

// Name returns the name of the interface in the namespace, such as "tun0".
func (l *Link) Name() string { return l.cfg.Name }

// MTU returns the maximum packet size in bytes, from the network layer on.
func (l *Link) MTU() int { return l.cfg.MTU }

// Kind returns Tun or Veth, never Auto.
func (l *Link) Kind() LinkKind { return l.kind }

// L2 reports whether the link is an Ethernet link for the host (Veth). Write and Read omit the Ethernet header in any
// case.
func (l *Link) L2() bool { return l.kind == Veth }

// Prefixes returns the host's addresses on the link.
func (l *Link) Prefixes() []netip.Prefix { return append([]netip.Prefix(nil), l.cfg.Prefixes...) }

// String describes the link: "tun0 (tun) 192.0.2.1/24". If Auto did not choose Tun, it has the reason in short: "tun0 (veth, not
// tun: needs /dev/net/tun) 192.0.2.1/24".
func (l *Link) String() string {
	kind := l.kind.String()
	if lack, ok := errors.AsType[*nf.UnsupportedError](l.why); ok {
		kind += ", not tun: needs " + lack.Need
	} else if l.why != nil {
		kind += fmt.Sprintf(", not tun: %v", l.why)
	}
	return describe(l.cfg.Name, kind, l.cfg.Prefixes)
}

func describe(name, kind string, prefixes []netip.Prefix) string {
	s := fmt.Sprintf("%s (%s)", name, kind)
	for _, p := range prefixes {
		s += " " + p.String()
	}
	return s
}

// Write sends a packet, which begins at the network layer, to the host under test. On a tun link the host has processed
// it when Write returns, unless RPS has moved it to another CPU. Fence waits in all cases.
func (l *Link) Write(p []byte) (int, error) {
	n, err := l.dev.Write(p)
	if err == nil {
		l.written.Add(1)
	}
	return n, closedError(err)
}

// closedError returns ErrClosed if the outer end was closed with its Env, and other errors unchanged.
func closedError(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return ErrClosed
	}
	return err
}

// Read reads the next packet that the host sent on the link, from the network layer on. It blocks until the deadline.
// Unread packets are queued; beyond a few hundred they are dropped, although captures have them. See Lost.
func (l *Link) Read(p []byte) (int, error) {
	n, err := l.dev.Read(p)
	l.took(err)
	return n, closedError(err)
}

// took counts a packet that was read.
func (l *Link) took(err error) {
	if err == nil {
		l.taken.Add(1)
	}
}

// Taken returns how many packets have been read from the link by anybody.
func (l *Link) Taken() uint64 { return l.taken.Load() }

// Quiet reports whether the host sends nothing on the link on its own: always.
func (l *Link) Quiet() bool { return true }

// SetReadDeadline sets the deadline of Read as in package net: the zero time means none, and after the deadline Read
// returns os.ErrDeadlineExceeded.
func (l *Link) SetReadDeadline(t time.Time) error { return l.dev.SetReadDeadline(t) }

// openLink creates the interface, down and without addresses.
func (e *Env) openLink(cfg LinkConfig) (_ *Link, err error) {
	l := &Link{env: e, cfg: cfg, kind: cfg.Kind}
	defer func() {
		if err != nil && l.dev != nil {
			l.dev.Close()
		}
	}()
	if cfg.Kind != Veth {
		l.dev, err = openTun(e, cfg.Name)
		if err == nil {
			l.kind = Tun
		} else if cfg.Kind == Auto && unsupported(err) {
			l.why = err
		} else {
			return nil, fmt.Errorf("link %q: %w", cfg.Name, err)
		}
	}
	if l.dev == nil {
		l.kind = Veth
		l.number = len(e.links)
		if l.dev, err = openVeth(e, cfg.Name, l.farName(), cfg.MTU); err != nil {
			return nil, fmt.Errorf("link %q: %w", cfg.Name, err)
		}
	}
	l.index, err = e.linkIndex(cfg.Name)
	if err != nil {
		return nil, fmt.Errorf("link %q: %w", cfg.Name, err)
	}
	if (cfg.HardwareAddr != nf.MAC{}) {
		msg := &rtnetlink.LinkMessage{Index: l.index, Attributes: &rtnetlink.LinkAttributes{Address: cfg.HardwareAddr[:]}}
		if err := e.route.Link.Set(msg); err != nil {
			return nil, fmt.Errorf("link %q: set its address %v: %w", cfg.Name, cfg.HardwareAddr, err)
		}
	}
	if cfg.ARP {
		return l, e.switchOnARP(l)
	}
	return l, nil
}

// up sets the link up and adds its addresses and routes.
func (e *Env) up(ctx context.Context, l *Link) error {
	if l.cfg.Down {
		return nil
	}
	msg := &rtnetlink.LinkMessage{
		Index: l.index, Flags: unix.IFF_UP, Change: unix.IFF_UP,
		Attributes: &rtnetlink.LinkAttributes{MTU: uint32(l.cfg.MTU)},
	}
	if err := e.route.Link.Set(msg); err != nil {
		return fmt.Errorf("link %q: set up: %w", l.cfg.Name, err)
	}
	if err := e.addAddresses(ctx, l.cfg.Prefixes, l.index, l.cfg.Port); err != nil {
		return fmt.Errorf("link %q: %w", l.cfg.Name, err)
	}
	return e.addRoutes(l)
}

// addAddresses adds the addresses of an interface that is up and has the Port.
func (e *Env) addAddresses(ctx context.Context, prefixes []netip.Prefix, index uint32, port Port) error {
	domain := uint32(0) // the kernel looks addresses of a VRF up only for its ports
	if e.cfg.table(port) != 0 {
		domain = index
	}
	for _, p := range prefixes {
		err := e.route.Address.New(&rtnetlink.AddressMessage{
			Family: uint8(nf.FamilyOf(p.Addr())), PrefixLength: uint8(p.Bits()), Index: index,
			Attributes: &rtnetlink.AddressAttributes{Address: p.Addr().AsSlice(), Local: p.Addr().AsSlice()},
		})
		if err != nil {
			return fmt.Errorf("add address %v: %w", p, err)
		}
		if nf.FamilyOf(p.Addr()) == nf.IPv6 {
			if err := e.awaitLocal(ctx, p.Addr(), domain); err != nil {
				return fmt.Errorf("address %v: %w", p, err)
			}
		}
	}
	return nil
}

// awaitLocal waits until a is a local address. A kernel worker adds its route even without duplicate address detection
// (net/ipv6/addrconf.c, addrconf_dad_work).
func (e *Env) awaitLocal(ctx context.Context, a netip.Addr, domain uint32) error {
	tick := time.NewTicker(100 * time.Microsecond)
	defer tick.Stop()
	for {
		routes, err := e.route.Route.Get(&rtnetlink.RouteMessage{
			Family: unix.AF_INET6, DstLength: 128, Attributes: rtnetlink.RouteAttributes{Dst: a.AsSlice(), OutIface: domain},
		})
		if err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it is not local yet: %w", context.Cause(ctx))
		case <-tick.C:
		}
	}
}

func (e *Env) linkIndex(name string) (index uint32, err error) {
	err = e.do(func() error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		index, err = links.Index(fd, name)
		return err
	})
	return index, err
}

// tun is a tun link opened by water. The interface is persistent, so that it is deleted with its namespace: closing the
// last descriptor of one that is not persistent waits 20 to 40 ms for RCU (drivers/net/tun.c, __tun_detach).
type tun struct {
	*os.File
	opened *water.Interface // keeps the descriptor open
}

// openingTun is held while water opens a tun, so that one that is not attached yet was left open by it; see closeLeft.
var openingTun sync.Mutex

func openTun(e *Env, name string) (device, error) {
	var d *tun
	err := e.do(func() error {
		openingTun.Lock()
		defer openingTun.Unlock()
		// water opens the file without O_CLOEXEC, so no fork may happen until the flag is set.
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		w, err := water.New(water.Config{
			DeviceType:             water.TUN,
			PlatformSpecificParams: water.PlatformSpecificParams{Name: name, Persist: true},
		})
		if err != nil {
			closeLeft(name)
			return err
		}
		f, ok := w.ReadWriteCloser.(*os.File)
		if !ok {
			w.Close()
			return fmt.Errorf("water: the interface is a %T, not a file", w.ReadWriteCloser)
		}
		d = &tun{File: f, opened: w}
		return control(f, unix.CloseOnExec)
	})
	if err != nil {
		return nil, fmt.Errorf("open the tun: %w", tunError(err))
	}
	return d, nil
}

// tunError returns the error of a tun that could not be opened: there is no such file, its driver is missing, or it is for
// others.
func tunError(err error) error {
	return lackIf(err, nf.UnsupportedError{
		Need: "/dev/net/tun", Hint: "sudo chmod 0666 /dev/net/tun; in a container: --device /dev/net/tun; a veth link does without",
	}, unix.ENOENT, unix.EPERM, unix.EACCES, unix.ENODEV, unix.ENXIO)
}

// closeLeft closes the descriptor that water leaves open if one of its ioctls fails (syscalls_linux.go, openDev): that of a
// tun which is not attached to an interface, or to the one of this name in the namespace of the calling thread.
func closeLeft(name string) {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, d := range fds {
		if target, err := os.Readlink("/proc/self/fd/" + d.Name()); err != nil || target != "/dev/net/tun" {
			continue
		}
		fd, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		req, err := unix.NewIfreq("")
		if err == nil {
			err = unix.IoctlIfreq(fd, unix.TUNGETIFF, req)
		}
		if err == unix.EBADFD || err == nil && req.Name() == name && isHere(fd) {
			unix.Close(fd)
		}
	}
}

// isHere reports whether the interface of a tun is in the namespace of the calling thread.
func isHere(fd int) bool {
	const tunGetDevNetNS = 'T'<<8 | 227 // TUNGETDEVNETNS, include/uapi/linux/if_tun.h
	ns, err := unix.IoctlRetInt(fd, tunGetDevNetNS)
	if err != nil {
		return false
	}
	defer unix.Close(ns)
	var there, here unix.Stat_t
	return unix.Fstat(ns, &there) == nil && unix.Stat("/proc/thread-self/ns/net", &here) == nil && there.Ino == here.Ino
}

func unsupported(err error) bool { return errors.Is(err, errors.ErrUnsupported) }

// Lost returns the number of packets that the host has sent on the link but that were dropped because the queue for
// Read was full. The queue of a tun has room for 500 packets (the interface's queue length), that of a veth for about
// 200 kB including overhead.
func (l *Link) Lost() (uint64, error) {
	var n uint64
	var err error
	if v, ok := l.dev.(*veth); ok {
		n, err = v.lost()
	} else {
		n, err = l.env.txDropped(l.index)
	}
	if err != nil {
		return 0, fmt.Errorf("link %q: packets lost: %w", l.cfg.Name, closedError(err))
	}
	return n, nil
}

// txDropped returns the number of packets dropped by an interface. A tun drops packets if its queue is full
// (drivers/net/tun.c, tun_net_xmit).
func (e *Env) txDropped(index uint32) (uint64, error) {
	if e.FD() < 0 {
		return 0, ErrClosed
	}
	link, err := e.route.Link.Get(index)
	if err != nil {
		return 0, err
	}
	if link.Attributes == nil || link.Attributes.Stats64 == nil {
		return 0, errors.New("the kernel returned no statistics")
	}
	return link.Attributes.Stats64.TXDropped, nil
}

// lost sums up the packet socket's counter, which is reset each time it is read (net/packet/af_packet.c,
// packet_getsockopt).
func (v *veth) lost() (uint64, error) {
	if v.closed.Load() {
		return 0, os.ErrClosed
	}
	raw, err := v.SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := raw.Control(func(fd uintptr) {
		var s *unix.TpacketStats
		if s, err = unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			v.dropped.Add(uint64(s.Drops))
		}
	})
	if cerr != nil {
		return 0, os.ErrClosed
	}
	return v.dropped.Load(), os.NewSyscallError("getsockopt(PACKET_STATISTICS)", err)
}

// ReadNow is Read without blocking: it returns os.ErrDeadlineExceeded if there is no packet. It ignores the deadline,
// and may be called while a Read blocks.
func (l *Link) ReadNow(p []byte) (int, error) {
	d, ok := l.dev.(interface{ readNow(p []byte) (int, error) })
	if !ok {
		return 0, errors.ErrUnsupported
	}
	n, err := d.readNow(p)
	l.took(err)
	return n, closedError(err)
}

func (t *tun) readNow(p []byte) (int, error) { return readNow(t.File, p) }

func (v *veth) readNow(p []byte) (int, error) {
	frame := make([]byte, header.EthernetSize+len(p))
	for {
		if v.closed.Load() {
			return 0, os.ErrClosed
		}
		n, err := readNow(v.File, frame)
		if n < header.EthernetSize {
			return 0, err
		}
		if carriesIP(frame) {
			return copy(p, frame[header.EthernetSize:n]), err
		}
	}
}

// readNow reads from a non-blocking file. os.File.Read would fail after a deadline, and would block while another Read
// does (internal/poll, FD.Read).
func readNow(f *os.File, p []byte) (n int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := raw.Control(func(fd uintptr) {
		for {
			if n, err = unix.Read(int(fd), p); err != unix.EINTR {
				return
			}
		}
	})
	switch {
	case cerr != nil: // the file is closed (internal/poll, FD.RawControl)
		return 0, os.ErrClosed
	case err == unix.EAGAIN:
		return 0, os.ErrDeadlineExceeded
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	}
	return n, nil
}

// maxAtOnce is the number of frames that WriteBy's function may send if the host processes each frame before the next.
const maxAtOnce = 4096

// WriteBy sends frames to the host by the function write, such as that of xdpflood, and counts them, so that Fence
// waits for them. write runs on the Env's thread. It sends at most max frames to the interface with the index ifindex
// and returns the number sent, also with an error. It must not call Env.Do or Fence. max is smaller with receive packet
// steering, where the host processes frames later.
//
// On a tun it is an error.
func (l *Link) WriteBy(write func(ifindex, max int) (int, error)) (int, error) {
	if _, ok := l.dev.(*veth); !ok {
		return 0, errNoEthernet
	}
	n, written := 0, uint64(0)
	err := l.env.do(func() (err error) {
		// The lock keeps Fence from reading the counter before the written frames are counted.
		l.fence.mu.Lock()
		defer l.fence.mu.Unlock()
		n, err = write(int(l.index), atOnce())
		written = l.written.Add(uint64(n))
		return err
	})
	if err == nil {
		err = l.fence.keepUp(written)
	}
	return n, closedError(err)
}

// atOnce returns the number of frames that may be sent, in the namespace of the calling thread. Before 6.3 there is no
// default for RPS. rps_cpus of a single link, which only the host's root can set, is ignored.
func atOnce() int {
	mask, err := os.ReadFile("/proc/sys/net/core/rps_default_mask")
	if err == nil && strings.Trim(string(mask), "0,\n") != "" {
		return maxAhead
	}
	return maxAtOnce
}

// batchWriter is a device that writes many packets at once.
//
// Goroutines on different CPUs can write to one descriptor in parallel: neither a tun nor a packet socket takes a lock
// for that. More queues of a tun (IFF_MULTI_QUEUE) are not faster (measured with two CPUs on 6.18: 0.65 million packets
// per second by one descriptor, 0.61 by two), and the packets that the host sends would be spread over them.
type batchWriter interface {
	writeBatch(packets [][]byte) (int, error) // at most maxFrames of them
}

// WriteBatch is Write for many packets, with fewer system calls on veth and less overhead of package os on tun. It
// returns the number of packets written before the first error. Concurrent calls write in parallel.
//
// If the host may process packets after the write has returned, as on veth, WriteBatch waits for it often enough not to
// overrun the backlog of a CPU.
func (l *Link) WriteBatch(packets [][]byte) (int, error) {
	b, ok := l.dev.(batchWriter)
	if !ok {
		return l.writeEach(packets)
	}
	for done := 0; ; {
		n, err := b.writeBatch(packets[done:min(len(packets), done+maxFrames)])
		done += n
		written := l.written.Add(uint64(n))
		if err == nil {
			err = l.fence.keepUp(written)
		}
		if err != nil || done == len(packets) {
			return done, closedError(err)
		}
	}
}

func (l *Link) writeEach(packets [][]byte) (int, error) {
	for i, p := range packets {
		if _, err := l.Write(p); err != nil {
			return i, err
		}
	}
	return len(packets), nil
}

// Arrived returns the number of packets counted at the link's ingress hook since the link was created.
func (l *Link) Arrived() (uint64, error) {
	n, err := l.fence.count()
	if err != nil {
		return 0, fmt.Errorf("link %q: %w", l.cfg.Name, err)
	}
	return n, nil
}

// maxAhead is the number of packets written that the host may not have begun to process. It is well below the size of a
// CPU's backlog (net.core.netdev_max_backlog, 1000), which other interfaces share.
const maxAhead = 256

// keepUp waits until the host has begun to process all but maxAhead of the packets written.
func (f *fence) keepUp(written uint64) error {
	if !f.async || written < f.seen.Load()+maxAhead {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	got, err := f.count()
	if err != nil {
		return err
	}
	if want := written - min(written, f.lost+maxAhead); got < want {
		if got, err = f.wait(context.Background(), got, want); err != nil {
			return err
		}
		if got < want {
			return fmt.Errorf("%d of %d packets have not arrived", written-f.lost-got, written)
		}
	}
	f.seen.Store(got + f.lost)
	return nil
}

// control calls f with the descriptor of a file, which stays open during the call. Unlike Write of the file, it takes
// no lock.
func control(file *os.File, f func(fd int)) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	if raw.Control(func(fd uintptr) { f(int(fd)) }) != nil {
		return os.ErrClosed
	}
	return nil
}

// writeBatch writes the packets one by one: a tun takes one packet per system call.
func (t *tun) writeBatch(packets [][]byte) (n int, err error) {
	cerr := control(t.File, func(fd int) {
		for n < len(packets) && err == nil {
			if _, err = unix.Write(fd, packets[n]); err == nil {
				n++
			} else if err == unix.EINTR {
				err = nil
			}
		}
	})
	if err == unix.EAGAIN && cerr == nil { // os.File.Write waits
		if _, err = t.Write(packets[n]); err == nil {
			more, err := t.writeBatch(packets[n+1:])
			return n + 1 + more, err
		}
	}
	if err != nil {
		err = os.NewSyscallError("write", err)
	}
	return n, errors.Join(cerr, err)
}

// frames holds the arguments of a sendmmsg call.
type frames struct {
	headers  [maxFrames]mmsg.Header
	vectors  [maxFrames][2]unix.Iovec
	ethernet [maxFrames][header.EthernetSize]byte
}

// maxFrames is the number of packets in a writeBatch.
const maxFrames = 64

var framesPool = sync.Pool{New: func() any { return new(frames) }}

// writeBatch adds the Ethernet headers without copying the packets.
func (v *veth) writeBatch(packets [][]byte) (n int, err error) {
	if v.closed.Load() {
		return 0, os.ErrClosed
	}
	f := framesPool.Get().(*frames)
	defer func() {
		clear(f.vectors[:]) // do not keep the caller's packets
		framesPool.Put(f)
	}()
	cerr := control(v.File, func(fd int) {
		for n < len(packets) && err == nil {
			var sent int
			sent, err = f.send(fd, v, packets[n:])
			n += sent
		}
	})
	if err == unix.EAGAIN && cerr == nil { // os.File.Write waits
		if _, err = v.Write(packets[n]); err == nil {
			more, err := v.writeBatch(packets[n+1:])
			return n + 1 + more, err
		}
	}
	if err != nil {
		err = os.NewSyscallError("sendmmsg", err)
	}
	return n, errors.Join(cerr, err)
}

func (f *frames) send(fd int, v *veth, packets [][]byte) (int, error) {
	for i, p := range packets {
		ethernet := &f.ethernet[i]
		binary.BigEndian.PutUint16(ethernet[copy(ethernet[:], v.header):], header.EtherTypeOf(p))
		iov := &f.vectors[i]
		iov[0].Base = &ethernet[0]
		iov[0].SetLen(header.EthernetSize)
		iov[1].Base = unsafe.SliceData(p)
		iov[1].SetLen(len(p))
		m := &f.headers[i].Msg
		m.Iov = &iov[0]
		m.SetIovlen(len(iov))
	}
	return mmsg.Send(fd, f.headers[:len(packets)])
}
