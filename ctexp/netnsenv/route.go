package netnsenv

import (
	"fmt"
	"net/netip"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Route is a route of the host, as ip route adds one.
type Route struct {
	// To is the destination; the zero Prefix means the default route, of the family of Via, or of IPv4.
	To netip.Prefix
	// Via is the gateway. Zero means that destinations are neighbours on Dev.
	Via netip.Addr
	// Dev is the link or device. Empty means the one that Via is a neighbour on.
	Dev string
	// Metric decides between routes to the same destination: the lowest wins. Zero is the kernel's default (1024 for IPv6).
	Metric uint32
	// Table is the routing table; zero means the main one, that of the VRF whose port Dev is, or for Local that of the host's
	// addresses (255).
	Table uint32
	// Src is the source address of packets that the host sends; zero: the kernel selects one.
	Src netip.Addr
	// OnLink takes Via to be a neighbour on Dev also if no prefix of Dev has it.
	OnLink bool
	// Type is Unicast (the default), or what becomes of the packets instead. Only a Unicast has Via, Dev and Src.
	Type RouteType
}

// RouteType is what a Route does with packets.
type RouteType uint8

// The types of routes.
const (
	Unicast     RouteType = iota
	Blackhole             // dropped without an error
	Unreachable           // answered by ICMP host unreachable
	Prohibit              // answered by ICMP administratively prohibited
	Throw                 // looked up in the table of the next rule
	Local                 // delivered to the host, as with addresses of its own; Dev is usually "lo"
)

// String returns the word of ip route for the type.
func (t RouteType) String() string {
	words := [...]string{"unicast", "blackhole", "unreachable", "prohibit", "throw", "local"}
	if int(t) >= len(words) {
		return fmt.Sprintf("route type %d", uint8(t))
	}
	return words[t]
}

// String returns the route as ip route takes it.
func (r Route) String() string {
	s := ""
	if r.Type != Unicast {
		s = r.Type.String() + " "
	}
	if r.To.Bits() <= 0 {
		s += "default"
	} else {
		s += r.To.String()
	}
	if r.Via.IsValid() {
		s += " via " + r.Via.String()
	}
	if r.Dev != "" {
		s += " dev " + r.Dev
	}
	if r.OnLink {
		s += " onlink"
	}
	if r.Src.IsValid() {
		s += " src " + r.Src.String()
	}
	if r.Metric != 0 {
		s += fmt.Sprintf(" metric %d", r.Metric)
	}
	if r.Table != 0 {
		s += fmt.Sprintf(" table %d", r.Table)
	}
	return s
}

// RoutingRule is a rule of policy routing, as ip rule adds one: packets that match are looked up in Table. Zero fields match all
// packets.
type RoutingRule struct {
	// Priority is the place of the rule: the lowest is first. The kernel's own are 0 (local), 32766 (main) and 32767 (default).
	// Zero means before those of the Config without one that come earlier, as with ip rule.
	Priority uint32
	// From and To contain the packet's addresses.
	From, To netip.Prefix
	// In and Out are the interfaces. Out is only of packets of sockets that are bound to it.
	In, Out string
	// Mark is the firewall mark, of which the bits of Mask count. A zero Mask means all bits.
	Mark, Mask uint32
	// Table is the routing table.
	Table uint32
	// Not makes the rule match the packets that the fields above do not match.
	Not bool
	// SuppressDefault leaves default routes of Table out: where there is no other, the next rule is asked.
	SuppressDefault bool
	// Type Unicast looks the packet up in Table; Blackhole, Unreachable and Prohibit take no Table.
	Type RouteType
	// Family is the family of a rule without From and To; zero means IPv4 and, if the host has it, IPv6.
	Family nf.Family
}

// Neighbour is a permanent entry of the neighbour table: packets to Addr on Dev go to the Ethernet address MAC.
type Neighbour struct {
	Dev  string     // a link of Ethernet or a device
	Addr netip.Addr // of the neighbour
	MAC  nf.MAC     // of the neighbour
}

// normalizeRouting checks c.Routes, c.RoutingRules and c.Neighbours.
func (c *Config) normalizeRouting() error {
	type key struct {
		to     netip.Prefix
		metric uint32
		table  uint32
	}
	seen := map[key]Route{}
	c.Routes = append([]Route(nil), c.Routes...)
	for i := range c.Routes {
		r := &c.Routes[i]
		if !r.To.IsValid() {
			f := nf.IPv4
			if r.Via.IsValid() {
				f = nf.FamilyOf(r.Via)
			}
			r.To = netip.PrefixFrom(unspecified(f), 0)
		}
		r.To = r.To.Masked()
		if err := c.checkRoute(*r); err != nil {
			return fmt.Errorf("route %v: %w", r, err)
		}
		k := key{r.To, r.Metric, r.Table}
		if k.table == 0 {
			k.table = c.table(c.portOf(r.Dev))
		}
		if other, ok := seen[k]; ok {
			return fmt.Errorf("route %v: it has the destination, metric and table of the route %v: give one another metric", r, other)
		}
		seen[k] = *r
	}
	for i, r := range c.RoutingRules {
		if err := c.checkRoutingRule(r); err != nil {
			return fmt.Errorf("routing rule %d: %w", i, err)
		}
	}
	for _, n := range c.Neighbours {
		if !n.Addr.IsValid() {
			return fmt.Errorf("neighbour %v on %q: it has no address", n.MAC, n.Dev)
		}
		if !c.hasInterface(n.Dev) {
			return fmt.Errorf("neighbour %v: there is no link or device %q", n.Addr, n.Dev)
		}
		if err := c.needEthernet(n.Dev); err != nil {
			return fmt.Errorf("neighbour %v: %w", n.Addr, err)
		}
	}
	return nil
}

func (c *Config) checkRoute(r Route) error {
	switch {
	case r.Type > Local:
		return fmt.Errorf("type %d: want Unicast to Local", uint8(r.Type))
	case r.Type != Unicast && (r.Via.IsValid() || r.Type != Local && (r.Dev != "" || r.Src.IsValid())):
		return fmt.Errorf("only a unicast route has Via, Dev and Src")
	case r.Type == Unicast && !r.Via.IsValid() && r.Dev == "":
		return fmt.Errorf("it has neither Via nor Dev")
	case r.OnLink && (!r.Via.IsValid() || r.Dev == ""):
		return fmt.Errorf("OnLink is of a Via on a Dev")
	case r.Dev != "" && r.Dev != "lo" && !c.hasInterface(r.Dev):
		return fmt.Errorf("there is no link or device %q", r.Dev)
	case r.Via.IsValid() && nf.FamilyOf(r.Via) != nf.FamilyOf(r.To.Addr()):
		return fmt.Errorf("the gateway %v is of another family", r.Via)
	case r.To.Addr().Is4In6():
		return fmt.Errorf("want an IPv4 prefix, not an IPv4-mapped one")
	}
	return nil
}

func (c *Config) checkRoutingRule(r RoutingRule) error {
	both := r.From.IsValid() && r.To.IsValid()
	switch {
	case both && r.From.Addr().Is4() != r.To.Addr().Is4():
		return fmt.Errorf("from %v and to %v are not of one family", r.From, r.To)
	case r.Type == Unicast && r.Table == 0:
		return fmt.Errorf("it has no Table")
	case r.Type != Unicast && r.Table != 0:
		return fmt.Errorf("%v takes no Table", r.Type)
	case r.Type > Prohibit:
		return fmt.Errorf("type %d: want Unicast, Blackhole, Unreachable or Prohibit", uint8(r.Type))
	}
	return nil
}

// portOf returns the Port of an interface.
func (c *Config) portOf(name string) Port {
	for _, l := range c.Links {
		if l.Name == name {
			return l.Port
		}
	}
	d, _ := c.device(name)
	return d.Port
}
