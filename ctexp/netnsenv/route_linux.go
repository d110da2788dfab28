package netnsenv

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/jsimonetti/rtnetlink/v2"
	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// addRoutes adds the link's routes to the main table or that of its VRF or, if the link has a mark, to a table for packets with
// the mark.
func (e *Env) addRoutes(l *Link) error {
	routes, table := l.cfg.Routes, e.cfg.table(l.cfg.Port)
	if l.cfg.Mark != 0 {
		table = 1000 + l.index
		seen := map[netip.Prefix]bool{}
		all := append(routes[:len(routes):len(routes)], l.cfg.Prefixes...) // the kernel adds these only to the main table
		routes = nil
		for _, p := range all {
			if !seen[p.Masked()] {
				routes = append(routes, p)
			}
			seen[p.Masked()] = true
		}
		if err := e.addMarkRules(l, table); err != nil {
			return err
		}
	}
	if err := e.addDirectRoutes(l.index, routes, table); err != nil {
		return fmt.Errorf("link %q: %w", l.cfg.Name, err)
	}
	return nil
}

// addDirectRoutes adds routes to neighbours on an interface. Table 0 is the main one.
func (e *Env) addDirectRoutes(index uint32, routes []netip.Prefix, table uint32) error {
	for _, p := range routes {
		p = p.Masked()
		if err := e.addRoute(Route{To: p, Table: table}, index); err != nil {
			return fmt.Errorf("add route %v: %w", p, err)
		}
	}
	return nil
}

// addMarkRules adds the rules that select a routing table for packets with the link's mark.
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

// addRouting adds the routes, rules and neighbours of the Config. Neighbours come first: nothing is sent before.
func (e *Env) addRouting() error {
	for _, n := range e.cfg.Neighbours {
		index, err := e.linkIndex(n.Dev)
		if err == nil {
			err = e.addNeighbour(index, n.Addr, n.MAC[:])
		}
		if err != nil {
			return fmt.Errorf("neighbour %v on %q: %w", n.Addr, n.Dev, err)
		}
	}
	for _, r := range e.cfg.Routes {
		index := uint32(0)
		var err error
		if r.Dev != "" {
			index, err = e.linkIndex(r.Dev)
		}
		if r.Table == 0 {
			r.Table = e.cfg.table(e.cfg.portOf(r.Dev))
		}
		if err == nil {
			err = e.addRoute(r, index)
		}
		if err != nil {
			return fmt.Errorf("route %v: %w", r, err)
		}
	}
	for i, r := range e.cfg.RoutingRules {
		if err := e.addRoutingRule(r); err != nil {
			return fmt.Errorf("routing rule %d: %w", i, err)
		}
	}
	return nil
}

func (e *Env) addNeighbour(index uint32, a netip.Addr, mac net.HardwareAddr) error {
	return e.route.Neigh.New(&rtnetlink.NeighMessage{
		Family: uint16(nf.FamilyOf(a)), Index: index, State: unix.NUD_PERMANENT,
		Attributes: &rtnetlink.NeighAttributes{Address: a.AsSlice(), LLAddress: mac},
	})
}

// routeTypes are the kernel's numbers of the types of routes; ruleActions those of what a rule does.
var (
	routeTypes = map[RouteType]uint8{
		Unicast: unix.RTN_UNICAST, Blackhole: unix.RTN_BLACKHOLE, Unreachable: unix.RTN_UNREACHABLE,
		Prohibit: unix.RTN_PROHIBIT, Throw: unix.RTN_THROW, Local: unix.RTN_LOCAL,
	}
	ruleActions = map[RouteType]uint8{
		Unicast: unix.FR_ACT_TO_TBL, Blackhole: unix.FR_ACT_BLACKHOLE, Unreachable: unix.FR_ACT_UNREACHABLE, Prohibit: unix.FR_ACT_PROHIBIT,
	}
)

// addRoute adds a route through the interface with an index; 0 is none. Its Dev is ignored. Table 0 is the main one.
func (e *Env) addRoute(r Route, index uint32) error {
	msg := &rtnetlink.RouteMessage{
		Family: uint8(nf.FamilyOf(r.To.Addr())), DstLength: uint8(r.To.Bits()),
		Protocol: unix.RTPROT_STATIC, Scope: unix.RT_SCOPE_UNIVERSE, Type: routeTypes[r.Type],
		Attributes: rtnetlink.RouteAttributes{OutIface: index, Table: r.Table, Priority: r.Metric},
	}
	a := &msg.Attributes
	switch {
	case r.Type == Local:
		msg.Scope = unix.RT_SCOPE_HOST
	case r.Type == Unicast && !r.Via.IsValid():
		msg.Scope = unix.RT_SCOPE_LINK
	}
	if a.Table == 0 {
		a.Table = unix.RT_TABLE_MAIN
		if r.Type == Local {
			a.Table = unix.RT_TABLE_LOCAL
		}
	}
	if r.To.Bits() > 0 {
		a.Dst = r.To.Addr().AsSlice()
	}
	if r.Via.IsValid() {
		a.Gateway = r.Via.AsSlice()
	}
	if r.Src.IsValid() {
		a.Src = r.Src.AsSlice()
	}
	if r.OnLink {
		msg.Flags = unix.RTNH_F_ONLINK
	}
	return e.route.Route.Add(msg)
}

func (e *Env) addRoutingRule(r RoutingRule) error {
	for _, f := range e.familiesOf(r) {
		msg := &rtnetlink.RuleMessage{Family: uint8(f), Action: ruleActions[r.Type], Attributes: &rtnetlink.RuleAttributes{}}
		a := msg.Attributes
		if r.Not {
			msg.Flags = unix.FIB_RULE_INVERT
		}
		if r.SuppressDefault {
			a.SuppressPrefixLen = new(uint32)
		}
		if r.Priority != 0 {
			a.Priority = &r.Priority
		}
		if r.From.IsValid() {
			ip := net.IP(r.From.Masked().Addr().AsSlice())
			a.Src, msg.SrcLength = &ip, uint8(r.From.Bits())
		}
		if r.To.IsValid() {
			ip := net.IP(r.To.Masked().Addr().AsSlice())
			a.Dst, msg.DstLength = &ip, uint8(r.To.Bits())
		}
		if r.In != "" {
			a.IIFName = &r.In
		}
		if r.Out != "" {
			a.OIFName = &r.Out
		}
		if r.Mark != 0 || r.Mask != 0 {
			a.FwMark = &r.Mark
		}
		if r.Mask != 0 {
			a.FwMask = &r.Mask
		}
		if r.Table != 0 {
			a.Table = &r.Table
		}
		if err := e.route.Rule.Add(msg); err != nil {
			return fmt.Errorf("%v: %w", f, err)
		}
	}
	return nil
}

// familiesOf returns the families of a rule.
func (e *Env) familiesOf(r RoutingRule) []nf.Family {
	switch {
	case r.From.IsValid():
		return []nf.Family{nf.FamilyOf(r.From.Addr())}
	case r.To.IsValid():
		return []nf.Family{nf.FamilyOf(r.To.Addr())}
	case r.Family != 0:
		return []nf.Family{r.Family}
	case e.hasIPv6():
		return nf.Families()
	}
	return []nf.Family{nf.IPv4}
}
