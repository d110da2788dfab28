package netnsenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/jsimonetti/rtnetlink/v2/driver"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// wire is a pair of interfaces that joins two Envs. Closing either Env cuts it.
type wire struct {
	ends  [2]wireEnd
	pipes [2]*pipe // from each end to the other
	cut   atomic.Bool

	mu     sync.Mutex
	closed bool
	forget []func() // remove the wire from what each Env closes
}

// name returns the end's letter and the name of its link. Both ends may have the same link name.
func (w *wire) name(end int) string { return fmt.Sprintf("%c: link %q", 'A'+end, w.ends[end].cfg.Name) }

// wireEnd is one interface of the pair.
type wireEnd struct {
	env     *Env
	cfg     LinkConfig
	master  Device // whose port it is; the zero Device if none
	index   uint32
	at      uint32                 // the interface with the addresses: a bridge or a bond, or the end itself
	mac     net.HardwareAddr       // of that
	arp     bool                   // that has ARP
	ingress func() (uint64, error) // returns the number of packets that have arrived
}

// Join joins two Envs by a wire, so that each is a separate host for the other, with its own network stack. When Join
// returns, the wire works, and each end has the other's addresses as permanent neighbours, unless its ARP is set.
// Closing either Env deletes the wire, which takes about 20 ms. An Env can be joined to any number of others.
//
//	netnsenv.Join(ctx, client, server, netnsenv.Wire{
//		A: netnsenv.LinkConfig{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}},
//		B: netnsenv.LinkConfig{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")}},
//	})
//
// Probes, rules and captures see packets on the wire as on any link, but packets cannot be injected into it: it is not
// a Link of either Env. Fence of a Link also waits for the effects of its packets in all joined Envs, over any number
// of wires. If others keep sending, it may take a few tenths of a second. An Env without IPv6 when it was opened has no
// path counters for it.
func Join(ctx context.Context, a, b *Env, w Wire) error {
	if err := join(ctx, a, b, w); err != nil {
		return fmt.Errorf("join: %w", err)
	}
	return nil
}

func join(ctx context.Context, a, b *Env, cfg Wire) error {
	envs, ends := [2]*Env{a, b}, [2]LinkConfig{cfg.A, cfg.B}
	var masters [2]Device
	for i, e := range envs {
		switch {
		case e == nil:
			return fmt.Errorf("%c: the Env is nil", 'A'+i)
		case e.FD() < 0:
			return fmt.Errorf("%c: %w", 'A'+i, ErrClosed)
		}
		var err error
		if masters[i], err = e.masterOf(ends[i]); err != nil {
			return fmt.Errorf("%c: link %q: %w", 'A'+i, ends[i].Name, err)
		}
	}
	if a == b {
		return errors.New("both ends are in the same Env")
	}
	cfg, err := cfg.normalize(max(a.freeWire(), b.freeWire()), masters)
	if err != nil {
		return err
	}
	w := &wire{ends: [2]wireEnd{{env: a, cfg: cfg.A, master: masters[0]}, {env: b, cfg: cfg.B, master: masters[1]}}}
	if err := w.create(); err != nil {
		return err
	}
	if err := w.setUp(ctx); err != nil {
		return errors.Join(err, w.Close())
	}
	for i := range w.ends {
		from, to := &w.ends[i], &w.ends[1-i]
		w.pipes[i] = &pipe{
			name:   fmt.Sprintf("wire from %q to %q", from.cfg.Name, to.cfg.Name),
			sender: from.env, index: from.index, arrived: to.ingress, cut: &w.cut,
		}
	}
	rejoin(a, b, func() {
		for _, e := range envs {
			e.mu.Lock()
			e.wires = append(e.wires, w)
			e.mu.Unlock()
		}
	})
	for _, e := range envs {
		w.onForget(e.onClose(w))
	}
	return nil
}

// masterOf returns the device whose port the end of a wire is to be.
func (e *Env) masterOf(end LinkConfig) (Device, error) {
	c := e.cfg
	end.Kind = Veth
	c.Links = append(slices.Clone(c.Links), end)
	if err := c.checkPort(end.Name, end.Port); err != nil {
		return Device{}, err
	}
	d, _ := c.device(end.Port.Of)
	return d, nil
}

// freeWire returns a number that is in no wire name of the Env.
func (e *Env) freeWire() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	free := 0
	for _, w := range e.wires {
		for _, end := range w.ends {
			var n int
			if _, err := fmt.Sscanf(end.cfg.Name, "wire%d", &n); err == nil && end.env == e {
				free = max(free, n+1)
			}
		}
	}
	return free
}

// create creates the pair, with each end in its namespace.
func (w *wire) create() error {
	a, b := &w.ends[0], &w.ends[1]
	for i, end := range w.ends {
		if _, err := end.env.linkIndex(end.cfg.Name); err == nil {
			return fmt.Errorf("%s: the name is taken", w.name(i))
		} else if !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("%s: %w", w.name(i), err)
		}
	}
	err := a.env.route.Link.New(&rtnetlink.LinkMessage{
		Attributes: &rtnetlink.LinkAttributes{Name: a.cfg.Name, Info: &rtnetlink.LinkInfo{Kind: "veth", Data: &driver.Veth{
			PeerInfo: &rtnetlink.LinkMessage{
				Attributes: &rtnetlink.LinkAttributes{Name: b.cfg.Name, NetNS: rtnetlink.NetNSForFD(uint32(b.env.FD()))},
			},
		}}},
	})
	if err != nil {
		return fmt.Errorf("create the links %q and %q: %w", a.cfg.Name, b.cfg.Name, err)
	}
	return nil
}

// setUp sets up both ends and adds their addresses, neighbours and routes.
func (w *wire) setUp(ctx context.Context) error {
	for i := range w.ends {
		if err := w.ends[i].prepare(); err != nil {
			return fmt.Errorf("%s: %w", w.name(i), err)
		}
	}
	for i := range w.ends {
		if err := w.ends[i].up(); err != nil {
			return fmt.Errorf("%s: set up: %w", w.name(i), err)
		}
	}
	for i := range w.ends {
		end := &w.ends[i]
		if i == 1 && end.at == end.index {
			break // it can: its peer was up before
		}
		for _, index := range []uint32{end.index, end.at} { // a bridge leaves out ports that are not seen to be up
			if err := end.env.awaitQueue(ctx, index); err != nil {
				return fmt.Errorf("%s: %w", w.name(i), err)
			}
		}
	}
	for i := range w.ends {
		end, other := &w.ends[i], &w.ends[1-i]
		if err := end.env.addAddresses(ctx, end.cfg.Prefixes, end.index, end.cfg.Port); err != nil {
			return fmt.Errorf("%s: %w", w.name(i), err)
		}
		if err := end.addPeer(other); err != nil {
			return fmt.Errorf("%s: %w", w.name(i), err)
		}
	}
	return nil
}

// prepare sets sysctls, offloads and counters, which must be in place before the first packet.
func (end *wireEnd) prepare() (err error) {
	e := end.env
	if end.index, err = e.linkIndex(end.cfg.Name); err != nil {
		return err
	}
	if err := e.enslave(end.index, end.cfg.Port); err != nil {
		return err
	}
	end.at, end.arp = end.index, end.cfg.ARP
	switch end.master.Kind.(type) {
	case Bridge, Bond:
		if end.at, err = e.linkIndex(end.master.Name); err != nil {
			return err
		}
		end.arp = end.master.ARP
	}
	mac, err := e.hardwareAddr(end.at)
	if err != nil {
		return err
	}
	end.mac = mac[:]
	if end.cfg.hasIPv6() {
		if err := e.owned.beQuiet(); err != nil {
			return err
		}
		for _, s := range quietIPv6 {
			err := e.setSysctl(strings.Replace(s.key, "*", end.cfg.Name, 1), s.value)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	if err := e.copyFragments(); err != nil {
		return err
	}
	if err := e.do(func() error { return noChecksumOffload(end.cfg.Name) }); err != nil {
		return err
	}
	e.mu.Lock()
	e.assigned++
	chain := fmt.Sprintf("%s.%d", end.cfg.Name, e.assigned) // an earlier link may have had the same name
	e.mu.Unlock()
	if end.ingress, err = e.countIngress(chain, end.cfg.Name, nf.Families()...); err != nil {
		return err
	}
	return e.countEgress(chain, end.cfg.Name)
}

func (end *wireEnd) up() error {
	return end.env.route.Link.Set(&rtnetlink.LinkMessage{
		Index: end.index, Flags: unix.IFF_UP, Change: unix.IFF_UP,
		Attributes: &rtnetlink.LinkAttributes{MTU: uint32(end.cfg.MTU)},
	})
}

// addPeer adds neighbour entries for the other end, unless this end has ARP, and the routes through it.
func (end *wireEnd) addPeer(other *wireEnd) error {
	own, others := slices.Concat(end.cfg.Prefixes, end.master.Prefixes), slices.Concat(other.cfg.Prefixes, other.master.Prefixes)
	for _, p := range others {
		if end.arp {
			break
		}
		if err := end.env.addNeighbour(end.at, p.Addr(), other.mac); err != nil {
			return fmt.Errorf("add neighbour %v: %w", p.Addr(), err)
		}
	}
	for _, r := range end.cfg.Routes {
		r = r.Masked()
		err := end.env.addRoute(Route{To: r, Via: gateway(own, others, nf.FamilyOf(r.Addr())), Table: end.env.cfg.table(end.cfg.Port)}, end.at)
		if err != nil {
			return fmt.Errorf("add route %v: %w", r, err)
		}
	}
	return nil
}

// onForget calls forget when the wire is cut.
func (w *wire) onForget(forget func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		forget()
	}
	w.forget = append(w.forget, forget)
}

// Close deletes the wire. Deleting one end deletes both.
func (w *wire) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	w.cut.Store(true)
	rejoin(w.ends[0].env, w.ends[1].env, func() {
		for _, end := range w.ends {
			end.env.forgetWire(w)
		}
	})
	for _, forget := range w.forget {
		forget()
	}
	return w.ends[0].env.route.Link.Delete(w.ends[0].index)
}

func (e *Env) forgetWire(w *wire) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.wires {
		if e.wires[i] == w {
			e.wires = append(e.wires[:i:i], e.wires[i+1:]...)
			return
		}
	}
}
