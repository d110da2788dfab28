package netnsenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/jsimonetti/rtnetlink/v2"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
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
