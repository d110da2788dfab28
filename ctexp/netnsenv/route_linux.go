package netnsenv

import (
	"fmt"
	"net/netip"

	"github.com/jsimonetti/rtnetlink/v2"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// addRoutes has what a link leads to go out by it: in the main table or, if the link has a mark, in one of its own that
// packets with that mark look into first.
func (e *Env) addRoutes(l *Link) error {
	routes, table := l.cfg.Routes, uint32(unix.RT_TABLE_MAIN)
	if l.cfg.Mark != 0 {
		table = 1000 + l.index
		for _, p := range l.cfg.Prefixes {
			routes = append(routes[:len(routes):len(routes)], p) // the kernel adds them to the main table alone
		}
		if err := e.addMarkRules(l, table); err != nil {
			return err
		}
	}
	seen := map[netip.Prefix]bool{}
	for _, p := range routes {
		p = p.Masked()
		if l.cfg.Mark != 0 && seen[p] {
			continue
		}
		seen[p] = true
		msg := &rtnetlink.RouteMessage{
			Family: uint8(nf.FamilyOf(p.Addr())), DstLength: uint8(p.Bits()),
			Protocol: unix.RTPROT_STATIC, Scope: unix.RT_SCOPE_LINK, Type: unix.RTN_UNICAST,
			Attributes: rtnetlink.RouteAttributes{OutIface: l.index, Table: table},
		}
		if p.Bits() > 0 {
			msg.Attributes.Dst = p.Addr().AsSlice()
		}
		if err := e.route.Route.Add(msg); err != nil {
			return fmt.Errorf("link %q: add route %v: %w", l.cfg.Name, p, err)
		}
	}
	return nil
}

// addMarkRules has packets with the link's mark look into a table.
func (e *Env) addMarkRules(l *Link, table uint32) error {
	families := map[nf.Family]bool{}
	for _, p := range append(append([]netip.Prefix(nil), l.cfg.Prefixes...), l.cfg.Routes...) {
		families[nf.FamilyOf(p.Addr())] = true
	}
	for f := range families {
		err := e.route.Rule.Add(&rtnetlink.RuleMessage{
			Family: uint8(f), Action: unix.FR_ACT_TO_TBL,
			Attributes: &rtnetlink.RuleAttributes{FwMark: &l.cfg.Mark, Table: &table},
		})
		if err != nil {
			return fmt.Errorf("link %q: route by mark %#x: %w", l.cfg.Name, l.cfg.Mark, err)
		}
	}
	return nil
}
