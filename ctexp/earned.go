package ctexp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// couldCome returns an error if the Inbox has nothing that one of ms matches because nothing such could come: without a link, before
// anything was sent, of IPv6 where the host has none, or from a silent host. Without ms it is about all packets.
func (l *Lab) couldCome(ctx context.Context, ms ...packet.Match) error {
	if l.Observer.VacuousAllowed() {
		return nil
	}
	if len(l.Env.Links()) == 0 {
		return fmt.Errorf("%w: the Env has no link; what goes over wires and devices is in captures (Frames)", observe.ErrVacuous)
	}
	if err := errors.Join(l.Observer.Earned(), l.wasDone()); err != nil {
		return err
	}
	if err := l.couldComeOfIPv6(ctx, ms); err != nil || !l.Env.Config().Silent {
		return err
	}
	p, err := l.Observer.PathCounts(ctx)
	if errors.Is(err, observe.ErrOff) || errors.Is(err, observe.ErrCountersReset) { // it is not known what was silenced
		return nil
	}
	if err != nil || p.Silenced == 0 {
		return err
	}
	if len(ms) == 0 {
		ms = []packet.Match{{}}
	}
	alone := !slices.ContainsFunc(p.Points, func(at observe.Point) bool {
		return at.Packets > 0 && (at.Probe.Hook == nf.Forward || at.Probe.Hook == nf.Postrouting)
	})
	if i := slices.IndexFunc(ms, func(m packet.Match) bool { return isAnswer(m) || alone && mayBeAnswer(m) }); i >= 0 {
		return fmt.Errorf("%w: Config.Silent has dropped %d packets of the host, of which each may match %q", observe.ErrVacuous, p.Silenced, ms[i])
	}
	return nil
}

// wasDone returns an error if a program, or a function of Go, has failed that nobody has waited for: what it did not do shows nothing.
func (l *Lab) wasDone() error {
	if err := l.Env.Failed(); err != nil && !l.Observer.VacuousAllowed() {
		return fmt.Errorf("there is nothing, but what should have shown the contrary has failed: %w; if that is meant, wait for it, or call x.AllowVacuous", err)
	}
	return nil
}

// hasEthernet returns an error if one of ms needs an Ethernet, of which the Env has none, and no frame is from one, such as a wire.
func (l *Lab) hasEthernet(frames []packet.Record, ms []packet.Match) error {
	i := slices.IndexFunc(ms, packet.Match.NeedsEthernet)
	if i < 0 || len(frames) == 0 || l.Observer.VacuousAllowed() || len(l.Env.Config().Devices) > 0 ||
		slices.ContainsFunc(l.Env.Links(), (*netnsenv.Link).L2) ||
		slices.ContainsFunc(frames, func(r packet.Record) bool { return r.Ethernet != nil && r.Link != "lo" }) {
		return nil
	}
	return fmt.Errorf("%w: no captured packet has an Ethernet header, so that none matches %q; if that is meant, call x.AllowVacuous", observe.ErrVacuous, ms[i])
}

// couldComeOfIPv6 returns an error if each of ms is about packets of IPv6 alone, and the host has none.
func (l *Lab) couldComeOfIPv6(ctx context.Context, ms []packet.Match) error {
	if len(ms) == 0 || slices.ContainsFunc(ms, func(m packet.Match) bool { return m.Family() != nf.IPv6 }) {
		return nil
	}
	off, err := l.Observer.IPv6Off(ctx)
	if off {
		err = fmt.Errorf("%w: no link has an address of IPv6, of which the host processes and sends no packet then", observe.ErrVacuous)
	}
	return err
}

// isAnswer reports whether m is about what a host sends on its own: RSTs, and messages of ICMP.
func isAnswer(m packet.Match) bool {
	return m.Flags&packet.FlagRST != 0 || m.Proto.IsICMP() || m.Tuple.Proto.IsICMP() || m.ICMPType != nil || m.About != nil
}

// mayBeAnswer reports whether m may match what a host sends on its own: besides these, acknowledgements of closed sockets.
func mayBeAnswer(m packet.Match) bool {
	const ofSockets = packet.FlagSYN | packet.FlagFIN | packet.FlagPSH | packet.FlagURG
	return m.Proto != nf.UDP && m.Tuple.Proto != nf.UDP && m.Flags&ofSockets == 0
}

// isSomewhere returns an error if an address is not behind a link and no captured packet was about it: nothing comes to an end that is
// there by mistake. What was not captured cannot be told.
func (l *Lab) isSomewhere(ctx context.Context, link string, a netip.Addr) error {
	if l.Observer.VacuousAllowed() || l.Env.Config().IsBehind(a, link) {
		return nil
	}
	for f, err := range l.Observer.Frames(ctx) {
		if t := f.Packet.Tuple(); err != nil || t.Src.Addr() == a || t.Dst.Addr() == a {
			return nil
		}
	}
	return fmt.Errorf("%w: %v is not behind %s, see the link's Prefixes and Routes, and no packet was ever about it; if that is meant, call x.AllowVacuous",
		observe.ErrVacuous, a, link)
}

// isTraced returns an error if the host has rules that no trace shows, so that an empty one says nothing.
func (l *Lab) isTraced(ctx context.Context) error {
	if l.Observer.VacuousAllowed() {
		return nil
	}
	rules, err := l.Observer.Rules(ctx)
	if err != nil {
		return err
	}
	legacy := func(r observe.Rule) bool {
		return r.Backend == string(netnsenv.IPTablesLegacy) && r.Kind == observe.KindRule
	}
	if i := slices.IndexFunc(rules, legacy); i >= 0 {
		return fmt.Errorf("there is nothing, but rules of iptables-legacy are not traced, such as %v: load them by iptables-nft; if that is meant, call x.AllowVacuous", rules[i])
	}
	return nil
}
