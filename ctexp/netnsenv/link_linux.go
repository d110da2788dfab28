package netnsenv

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
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
	"github.com/ctexp/go-ctexp/internal/mmsg"
)

// Link is one link of an Env, seen from outside: what is written to it arrives at the host under test, what the
// host sends by it is read from it. It may be used by several goroutines at once.
type Link struct {
	env     *Env
	cfg     LinkConfig
	kind    LinkKind
	why     error // why Auto is not Tun
	index   uint32
	dev     device
	fence   *fence
	written atomic.Uint64
}

// device is the outer end of a link: packets without their link layer.
type device interface {
	io.ReadWriteCloser
	SetReadDeadline(t time.Time) error
}

// Name returns the name of the interface in the namespace, such as "tun0".
func (l *Link) Name() string { return l.cfg.Name }

// MTU returns the largest packet that fits, in bytes from the network layer.
func (l *Link) MTU() int { return l.cfg.MTU }

// Kind returns Tun or Veth, never Auto.
func (l *Link) Kind() LinkKind { return l.kind }

// L2 reports whether the host sees the link as Ethernet (Veth). Packets are written and read without that header
// in any case.
func (l *Link) L2() bool { return l.kind == Veth }

// Prefixes returns the host's addresses on the link.
func (l *Link) Prefixes() []netip.Prefix { return append([]netip.Prefix(nil), l.cfg.Prefixes...) }

// String says what the link is: "tun0 (tun) 192.0.2.1/24", and for a stand-in why it is one.
func (l *Link) String() string {
	s := fmt.Sprintf("%s (%v)", l.cfg.Name, l.kind)
	for _, p := range l.cfg.Prefixes {
		s += " " + p.String()
	}
	if l.why != nil {
		s += fmt.Sprintf(", not tun: %v", l.why)
	}
	return s
}

// Write hands one packet, from the network layer on, to the host under test. On a tun link the host is done with it
// when Write returns, unless RPS moved it to another CPU; Fence waits for that.
func (l *Link) Write(p []byte) (int, error) {
	n, err := l.dev.Write(p)
	if err == nil {
		l.written.Add(1)
	}
	return n, closedError(err)
}

// closedError is ErrClosed for an outer end that has been closed with its Env.
func closedError(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return ErrClosed
	}
	return err
}

// Read returns the next packet that left by the link, from the network layer on. Packets that nobody reads queue up,
// and beyond some hundred are lost here, though captured. It waits until the deadline.
func (l *Link) Read(p []byte) (int, error) {
	n, err := l.dev.Read(p)
	return n, closedError(err)
}

// SetReadDeadline bounds Read as in package net: the zero time is no bound, a time gone by makes Read return
// os.ErrDeadlineExceeded at once.
func (l *Link) SetReadDeadline(t time.Time) error { return l.dev.SetReadDeadline(t) }

// openLink makes the interface, down and without addresses.
func (e *Env) openLink(cfg LinkConfig) (*Link, error) {
	l := &Link{env: e, cfg: cfg, kind: cfg.Kind}
	var err error
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
		if l.dev, err = openVeth(e, cfg.Name); err != nil {
			return nil, fmt.Errorf("link %q: %w", cfg.Name, err)
		}
	}
	l.index, err = e.linkIndex(cfg.Name)
	if err != nil {
		return nil, fmt.Errorf("link %q: %w", cfg.Name, err)
	}
	if cfg.ARP {
		return l, e.switchOnARP(l)
	}
	return l, nil
}

// up gives the link its addresses and routes and turns it on.
func (e *Env) up(ctx context.Context, l *Link) error {
	msg := &rtnetlink.LinkMessage{
		Index: l.index, Flags: unix.IFF_UP, Change: unix.IFF_UP,
		Attributes: &rtnetlink.LinkAttributes{MTU: uint32(l.cfg.MTU), Name: l.cfg.Name},
	}
	if err := e.route.Link.Set(msg); err != nil {
		return fmt.Errorf("link %q: set up: %w", l.cfg.Name, err)
	}
	if err := e.addPrefixes(ctx, l.cfg, l.index); err != nil {
		return err
	}
	return e.addRoutes(l)
}

// addPrefixes gives an interface that is up its addresses.
func (e *Env) addPrefixes(ctx context.Context, cfg LinkConfig, index uint32) error {
	for _, p := range cfg.Prefixes {
		err := e.route.Address.New(&rtnetlink.AddressMessage{
			Family: uint8(nf.FamilyOf(p.Addr())), PrefixLength: uint8(p.Bits()), Index: index,
			Attributes: &rtnetlink.AddressAttributes{Address: p.Addr().AsSlice(), Local: p.Addr().AsSlice()},
		})
		if err != nil {
			return fmt.Errorf("link %q: add address %v: %w", cfg.Name, p, err)
		}
		if nf.FamilyOf(p.Addr()) == nf.IPv6 {
			if err := e.awaitLocal(ctx, p.Addr()); err != nil {
				return fmt.Errorf("link %q: address %v: %w", cfg.Name, p, err)
			}
		}
	}
	return nil
}

// awaitLocal waits until the host takes a for its own. A worker of the kernel brings that about, also without duplicate
// address detection (net/ipv6/addrconf.c, addrconf_dad_work).
func (e *Env) awaitLocal(ctx context.Context, a netip.Addr) error {
	tick := time.NewTicker(100 * time.Microsecond)
	defer tick.Stop()
	for {
		routes, err := e.route.Route.Get(&rtnetlink.RouteMessage{
			Family: unix.AF_INET6, DstLength: 128, Attributes: rtnetlink.RouteAttributes{Dst: a.AsSlice()},
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
	err = e.Do(func() error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		req, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req); err != nil {
			return os.NewSyscallError("SIOCGIFINDEX", err)
		}
		index = req.Uint32()
		return nil
	})
	return index, err
}

// tun is a tun link opened by water. The interface is persistent, so that it goes with its namespace: to close the
// last descriptor of one that is not waits 20 to 40 ms for RCU (drivers/net/tun.c, __tun_detach).
type tun struct {
	*water.Interface // also kept because its descriptor dies with it
	file             *os.File
}

func openTun(e *Env, name string) (device, error) {
	var d *tun
	err := e.Do(func() error {
		// water opens without O_CLOEXEC: nobody may fork until the flag is set.
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		w, err := water.New(water.Config{
			DeviceType:             water.TUN,
			PlatformSpecificParams: water.PlatformSpecificParams{Name: name, Persist: true},
		})
		if err != nil {
			return err
		}
		f, ok := w.ReadWriteCloser.(*os.File)
		if !ok {
			w.Close()
			return fmt.Errorf("water: the interface is a %T, not a file", w.ReadWriteCloser)
		}
		d = &tun{Interface: w, file: f}
		return setCloseOnExec(f)
	})
	switch {
	case err == nil:
		return d, nil
	case errors.Is(err, os.ErrNotExist), errors.Is(err, os.ErrPermission), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return nil, &nf.UnsupportedError{
			Need: "/dev/net/tun",
			Hint: "sudo chmod 0666 /dev/net/tun; in a container: --device /dev/net/tun; a veth link does without",
			Err:  err,
		}
	}
	return nil, fmt.Errorf("open the tun: %w", err)
}

func (t *tun) SetReadDeadline(at time.Time) error { return t.file.SetReadDeadline(at) }

func setCloseOnExec(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { unix.CloseOnExec(int(fd)) })
}

func unsupported(err error) bool { return errors.Is(err, errors.ErrUnsupported) }

// Lost returns how many packets the host has sent by the link, since it was opened, that found no room in the queue for Read:
// that of a tun has room for 500 (the length of the interface's queue), that of veth for some 200 kB with overhead.
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

// txDropped returns what an interface has thrown away, which a tun does where its queue is full (drivers/net/tun.c,
// tun_net_xmit).
func (e *Env) txDropped(index uint32) (uint64, error) {
	if e.FD() < 0 {
		return 0, ErrClosed
	}
	link, err := e.route.Link.Get(index)
	if err != nil {
		return 0, err
	}
	if link.Attributes == nil || link.Attributes.Stats64 == nil {
		return 0, fmt.Errorf("the kernel gives no statistics")
	}
	return link.Attributes.Stats64.TXDropped, nil
}

// lost adds up the packet socket's own count, which begins anew each time it is read (net/packet/af_packet.c,
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

// ReadNow is Read without waiting, whatever the deadline: it returns os.ErrDeadlineExceeded where no packet is there. It works
// beside a Read that waits.
func (l *Link) ReadNow(p []byte) (int, error) {
	d, ok := l.dev.(interface{ readNow(p []byte) (int, error) })
	if !ok {
		return 0, errors.ErrUnsupported
	}
	n, err := d.readNow(p)
	return n, closedError(err)
}

func (t *tun) readNow(p []byte) (int, error) { return readNow(t.file, p) }

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

// readNow reads from a file that does not block. Reading by way of os.File would do nothing at all once a deadline is
// over, and wait for a reader that waits (internal/poll, FD.Read).
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
	case cerr != nil: // the only reason is that the file is closed (internal/poll, FD.RawControl)
		return 0, os.ErrClosed
	case err == unix.EAGAIN:
		return 0, os.ErrDeadlineExceeded
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	}
	return n, nil
}

// mostAtOnce is how many frames a function that WriteBy runs may hand over where the host is done with each before the next.
const mostAtOnce = 4096

// WriteBy has write hand frames to the host in a way of its own, of which xdpflood has one, and counts them, so that Fence
// waits for them as for those of WriteFrame. write runs on the Env's thread in the namespace, where the interface has the
// index ifindex, and must not wait for Env.Do or Fence. It hands over at most so many frames, which is fewer where receive packet
// steering makes the host take them later, and returns how many the host was given, also with an error.
//
// On a tun the error is an *nf.UnsupportedError.
func (l *Link) WriteBy(write func(ifindex, most int) (int, error)) (int, error) {
	if _, ok := l.dev.(*veth); !ok {
		return 0, errNoEthernet
	}
	n, written := 0, uint64(0)
	err := l.env.Do(func() (err error) {
		// Nobody looks at what has arrived until what was written is counted.
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

// atOnce returns how many frames may be handed over, in the namespace of the calling thread. Before 6.3 there is no default;
// rps_cpus of a single link is the host's root's own affair.
func atOnce() int {
	mask, err := os.ReadFile("/proc/sys/net/core/rps_default_mask")
	if err == nil && strings.Trim(string(mask), "0,\n") != "" {
		return mostAhead
	}
	return mostAtOnce
}

// batchWriter is an outer end that takes many packets at once.
//
// Several goroutines may write to one descriptor at the same time, on different CPUs: neither a tun nor a packet socket
// has a lock on that way. Further queues of a tun (IFF_MULTI_QUEUE) do not make it faster (measured with two CPUs on 6.18:
// 0.65 million packets a second by one descriptor, 0.61 by two), and what the host sends would be spread over them.
type batchWriter interface {
	writeBatch(packets [][]byte) (int, error) // at most maxFrames of them
}

// WriteBatch is Write for many packets, from which it saves system calls, or at least what package os does at each. It
// returns how many were written before the first error. Several goroutines may call it at the same time, and write at the
// same time.
//
// Where the host may finish a packet after it was written, on veth above all, it does not run so far ahead that packets find the
// backlog of a CPU full.
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

// Arrived returns how many packets the host has begun with since the link was made, as its ingress hook has counted them.
func (l *Link) Arrived() (uint64, error) {
	n, err := l.fence.count()
	if err != nil {
		return 0, fmt.Errorf("link %q: %w", l.cfg.Name, err)
	}
	return n, nil
}

// mostAhead is how many packets may be under way: well below what the backlog of a CPU holds, which others use as well
// (net.core.netdev_max_backlog, 1000).
const mostAhead = 256

// keepUp waits until the host has begun with all but mostAhead of the packets that were written.
func (f *fence) keepUp(written uint64) error {
	if !f.async || written < f.seen.Load()+mostAhead {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	got, err := f.count()
	if err != nil {
		return err
	}
	if want := written - min(written, f.lost+mostAhead); got < want {
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

// control runs f with the descriptor of a file, which stays open meanwhile; unlike its Write it has no lock.
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

// writeBatch writes the packets one by one: a tun takes one with each system call.
func (t *tun) writeBatch(packets [][]byte) (n int, err error) {
	cerr := control(t.file, func(fd int) {
		for n < len(packets) && err == nil {
			if _, err = unix.Write(fd, packets[n]); err == nil {
				n++
			} else if err == unix.EINTR {
				err = nil
			}
		}
	})
	if err == unix.EAGAIN && cerr == nil { // let package os wait
		if _, err = t.file.Write(packets[n]); err == nil {
			more, err := t.writeBatch(packets[n+1:])
			return n + 1 + more, err
		}
	}
	if err != nil {
		err = os.NewSyscallError("write", err)
	}
	return n, errors.Join(cerr, err)
}

// frames is memory for a call of sendmmsg.
type frames struct {
	headers  [maxFrames]mmsg.Header
	vectors  [maxFrames][2]unix.Iovec
	ethernet [maxFrames][header.EthernetSize]byte
}

// maxFrames is how many packets are written at a time.
const maxFrames = 64

var framesPool = sync.Pool{New: func() any { return new(frames) }}

// writeBatch adds the Ethernet headers without copying the packets.
func (v *veth) writeBatch(packets [][]byte) (n int, err error) {
	if v.closed.Load() {
		return 0, os.ErrClosed
	}
	f := framesPool.Get().(*frames)
	defer func() {
		clear(f.vectors[:]) // the packets are not ours
		framesPool.Put(f)
	}()
	cerr := control(v.File, func(fd int) {
		for n < len(packets) && err == nil {
			var sent int
			sent, err = f.send(fd, v, packets[n:])
			n += sent
		}
	})
	if err == unix.EAGAIN && cerr == nil { // let package os wait
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
