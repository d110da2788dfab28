package netnsenv

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// Numbers of routes and rules that x/sys/unix lacks (include/uapi/linux/rtnetlink.h, fib_rules.h).
const (
	routeCloned  = 0x200 // RTM_F_CLONED
	kernelMade   = 2     // RTPROT_KERNEL
	metricMTU    = 2     // RTAX_MTU
	nextHopSize  = 8     // struct rtnexthop
	mainTable    = unix.RT_TABLE_MAIN
	defaultTable = unix.RT_TABLE_DEFAULT
	localTable   = unix.RT_TABLE_LOCAL
)

// familyOfHeader returns the family in the first byte of a message.
func familyOfHeader(b []byte) (nf.Family, bool) {
	switch b[0] {
	case unix.AF_INET:
		return nf.IPv4, true
	case unix.AF_INET6:
		return nf.IPv6, true
	}
	return 0, false
}

// routes copies what the Env's kernel does not make by itself.
func (l *liking) routes() error {
	var direct, through []Route
	without6 := 0
	for _, b := range l.seen.Routes {
		if len(b) < unix.SizeofRtMsg {
			return fmt.Errorf("route: message of %d bytes", len(b))
		}
		a, err := attributesOf(b[unix.SizeofRtMsg:])
		if err != nil {
			return fmt.Errorf("route: %w", err)
		}
		r, ok := l.route(b, a)
		switch {
		case !ok:
		case nf.FamilyOf(r.To.Addr()) == nf.IPv6 && !l.cfg.hasIPv6():
			without6++
		case r.Via.IsValid():
			through = append(through, r)
		default: // by which gateways may be reached
			direct = append(direct, r)
		}
	}
	if without6 > 0 {
		l.miss(PartRoute, "", "routes of IPv6 (%d): no interface has an address of IPv6, so the Env has no IPv6", without6)
	}
	slices.SortStableFunc(direct, func(a, b Route) int { return int(b.Type) - int(a.Type) }) // Local first, which may be the Src of others
	type key struct {
		to            netip.Prefix
		metric, table uint32
	}
	seen := map[key]bool{}
	for _, r := range append(direct, through...) {
		k := key{r.To, r.Metric, r.Table}
		if k.table == 0 {
			k.table = l.cfg.table(l.cfg.portOf(r.Dev))
		}
		if seen[k] {
			l.miss(PartRoute, r.String(), "an earlier one has its destination, metric and table")
			continue
		}
		seen[k] = true
		l.cfg.Routes = append(l.cfg.Routes, r)
	}
	return nil
}

// typeOf returns the type that has a number of the kernel.
func typeOf(numbers map[RouteType]uint8, number uint8) (t RouteType, ok bool) {
	for t, n := range numbers {
		if n == number {
			return t, true
		}
	}
	return t, false
}

// route returns a route that must be copied.
func (l *liking) route(b []byte, a attrs) (r Route, ok bool) {
	family, known := familyOfHeader(b)
	proto, typ, flags := b[5], b[7], binary.NativeEndian.Uint32(b[8:])
	if !known || flags&routeCloned != 0 {
		return r, false
	}
	r = Route{
		To: netip.PrefixFrom(unspecified(family), 0), Via: a.addr(unix.RTA_GATEWAY), Dev: l.names[a.u32(unix.RTA_OIF)],
		Metric: a.u32(unix.RTA_PRIORITY), Src: a.addr(unix.RTA_PREFSRC), OnLink: flags&unix.RTNH_F_ONLINK != 0,
	}
	if dst := a.addr(unix.RTA_DST); dst.IsValid() {
		r.To = netip.PrefixFrom(dst, int(b[1]))
	}
	table := a.u32(unix.RTA_TABLE)
	if table == 0 {
		table = uint32(b[4])
	}
	r.Type, known = typeOf(routeTypes, typ)
	if proto == kernelMade && !l.mustCopy(r, typ, a.u32(unix.RTA_OIF)) {
		return r, false
	}
	l.table(&r, table)
	if !known {
		l.miss(PartRoute, r.String(), "its type %d", typ)
		return r, false
	}
	hops := a[unix.RTA_MULTIPATH]
	if len(hops) >= nextHopSize {
		l.firstHop(&r, hops)
		l.miss(PartRoute, r.String(), "its further next hops: the Env has the first alone")
	}
	why := ""
	switch index := a.u32(unix.RTA_OIF); {
	case a[unix.RTA_ENCAP_TYPE] != nil:
		why = "it encapsulates packets"
	case a[unix.RTA_VIA] != nil:
		why = "its gateway is of another family"
	case b[3] != 0:
		why = "it is of packets with a type of service"
	case b[2] != 0:
		why = "it is of packets from a network"
	case index != 0 && r.Dev == "":
		why = "its interface is not copied"
	case r.Type == Unicast && r.Dev == "" && !r.Via.IsValid():
		why = "it has no interface"
	}
	if why != "" {
		l.miss(PartRoute, r.String(), "%s", why)
		return r, false
	}
	l.missMetrics(r, a)
	switch r.Type {
	case Unicast:
	case Local:
		r.Via, r.OnLink = netip.Addr{}, false
	default:
		r.Via, r.Dev, r.Src, r.OnLink = netip.Addr{}, "", netip.Addr{}, false
	}
	return r, true
}

// routeMetrics are the words of ip route for what a route says of packets that go by it, with the numbers of the kernel (RTAX_…). The lock of
// some of them (1) changes nothing where they are left out.
var routeMetrics = map[uint16]string{
	3: "window", 4: "rtt", 5: "rttvar", 6: "ssthresh", 7: "cwnd", 8: "advmss", 9: "reordering", 10: "hoplimit",
	11: "initcwnd", 12: "features", 13: "rto_min", 14: "initrwnd", 15: "quickack", 16: "congctl", 17: "fastopen_no_cookie",
}

// missMetrics notes what a route says beside its way.
func (l *liking) missMetrics(r Route, a attrs) {
	m := a.nested(unix.RTA_METRICS)
	if m[metricMTU] != nil {
		l.miss(PartRoute, r.String(), "its MTU of %d", m.u32(metricMTU))
	}
	for _, typ := range slices.Sorted(maps.Keys(routeMetrics)) {
		if m[typ] != nil {
			l.miss(PartRoute, r.String(), "its %s", routeMetrics[typ])
		}
	}
	if realm := a.u32(unix.RTA_FLOW); realm != 0 {
		l.miss(PartRoute, r.String(), "its realm of %d", realm)
	}
}

// table sets the table of a route, 0 where that means the same.
func (l *liking) table(r *Route, table uint32) {
	of := l.cfg.table(l.cfg.portOf(r.Dev))
	switch {
	case r.Type == Local && table == localTable && of == 0, r.Type != Local && table == mainTable && of == 0:
	default:
		r.Table = table
	}
}

// mustCopy reports whether a route that the kernel has made must be copied, because the Env's makes none for the interface: those
// of addresses of lo, of point-to-point links, and where several interfaces have an address.
func (l *liking) mustCopy(r Route, typ uint8, index uint32) bool {
	p := r.To.Masked()
	switch {
	case typ == unix.RTN_LOCAL:
		_, has := l.owners[p.Addr()]
		return !(has && p.IsSingleIP()) && !p.Addr().IsLoopback() && r.Dev != ""
	case typ == unix.RTN_UNICAST && r.Dev != "" && !p.Addr().IsMulticast():
		own := func(o netip.Prefix) bool { return o.Masked() == p }
		return r.Dev != "lo" && !slices.ContainsFunc(l.prefixes(r.Dev), own) && !(p.Addr().IsLinkLocalUnicast() && p.Addr().Is6())
	}
	return false // broadcasts, anycasts, multicasts, and IPv6's unreachable default
}

// firstHop sets the next hop of a route with several.
func (l *liking) firstHop(r *Route, hops []byte) {
	size := int(binary.NativeEndian.Uint16(hops))
	if size < nextHopSize || size > len(hops) {
		return
	}
	a, err := attributesOf(hops[nextHopSize:size])
	if err != nil {
		return
	}
	r.Dev, r.Via = l.names[binary.NativeEndian.Uint32(hops[4:])], a.addr(unix.RTA_GATEWAY)
	r.OnLink = hops[2]&unix.RTNH_F_ONLINK != 0
}

// routingRules copies the rules of policy routing but the kernel's own.
func (l *liking) routingRules() error {
	type own struct {
		family   nf.Family
		priority uint32
		table    uint32
	}
	missing := []own{{nf.IPv4, 0, localTable}, {nf.IPv4, 32766, mainTable}, {nf.IPv4, 32767, defaultTable}, {nf.IPv6, 0, localTable}, {nf.IPv6, 32766, mainTable}}
	has6 := false
	for _, b := range l.seen.RoutingRules {
		if len(b) < sizeofRuleMsg {
			return fmt.Errorf("routing rule: message of %d bytes", len(b))
		}
		a, err := attributesOf(b[sizeofRuleMsg:])
		if err != nil {
			return fmt.Errorf("routing rule: %w", err)
		}
		family, known := familyOfHeader(b)
		if !known {
			continue
		}
		has6 = has6 || family == nf.IPv6
		r, why := l.routingRule(family, b, a)
		if a.u8(unix.FRA_L3MDEV) != 0 {
			continue // the Env has it with the first VRF
		}
		plain := r == (RoutingRule{Priority: r.Priority, Table: r.Table, Family: family})
		if at := slices.Index(missing, own{family, r.Priority, r.Table}); plain && why == "" && at >= 0 {
			missing = slices.Delete(missing, at, at+1)
			continue
		}
		name := fmt.Sprintf("%d (%v)", r.Priority, family)
		switch {
		case family == nf.IPv6 && !l.cfg.hasIPv6():
			why = "no interface has an address of IPv6, so the Env has no IPv6"
		case r.Priority == 0 && why == "":
			why = "its priority is that of the kernel's own rule"
		}
		if why != "" {
			l.miss(PartRoutingRule, name, "%s", why)
			continue
		}
		l.cfg.RoutingRules = append(l.cfg.RoutingRules, r)
	}
	for _, m := range missing {
		if len(l.seen.RoutingRules) > 0 && (m.family == nf.IPv4 || has6) {
			l.miss(PartRoutingRule, fmt.Sprintf("%d (%v)", m.priority, m.family), "that the kernel's own is not there")
		}
	}
	return nil
}

// routingRule returns a rule, or why it cannot be copied.
func (l *liking) routingRule(family nf.Family, b []byte, a attrs) (r RoutingRule, why string) {
	const invert = unix.FIB_RULE_INVERT
	r = RoutingRule{
		Priority: a.u32(unix.FRA_PRIORITY), In: a.text(unix.FRA_IIFNAME), Out: a.text(unix.FRA_OIFNAME), Mark: a.u32(unix.FRA_FWMARK), Mask: a.u32(unix.FRA_FWMASK),
		Table: a.u32(unix.FRA_TABLE), Family: family, Not: binary.NativeEndian.Uint32(b[8:])&invert != 0,
	}
	if r.Table == 0 {
		r.Table = uint32(b[4])
	}
	if r.Mark == 0 && r.Mask == math.MaxUint32 {
		r.Mask = 0
	}
	if src := a.addr(unix.FRA_SRC); src.IsValid() {
		r.From = netip.PrefixFrom(src, int(b[2]))
	}
	if dst := a.addr(unix.FRA_DST); dst.IsValid() {
		r.To = netip.PrefixFrom(dst, int(b[1]))
	}
	if _, suppresses := a[unix.FRA_SUPPRESS_PREFIXLEN]; suppresses && a.u32(unix.FRA_SUPPRESS_PREFIXLEN) != math.MaxUint32 {
		r.SuppressDefault = true
		if a.u32(unix.FRA_SUPPRESS_PREFIXLEN) != 0 {
			why = "it leaves out routes of other lengths than the default route's"
		}
	}
	if _, suppresses := a[unix.FRA_SUPPRESS_IFGROUP]; suppresses && a.u32(unix.FRA_SUPPRESS_IFGROUP) != math.MaxUint32 {
		why = "it leaves out routes by the group of the interface"
	}
	for _, only := range []struct {
		typ uint16
		why string
	}{
		{unix.FRA_FLOW, "it sets a realm"}, {unix.FRA_UID_RANGE, "it is of packets of users"}, {unix.FRA_SPORT_RANGE, "it is of source ports"},
		{unix.FRA_DPORT_RANGE, "it is of destination ports"}, {unix.FRA_IP_PROTO, "it is of a protocol"}, {unix.FRA_GOTO, "it goes to another rule"},
	} {
		if a[only.typ] != nil {
			why = only.why
		}
	}
	typ, known := typeOf(ruleActions, b[7])
	r.Type = typ
	switch {
	case why != "":
	case !known:
		why = fmt.Sprintf("its action %d", b[7])
	case b[3] != 0:
		why = "it is of packets with a type of service"
	case a.u32(unix.FRA_TUN_ID) != 0 || len(a[unix.FRA_TUN_ID]) == 8 && binary.NativeEndian.Uint64(a[unix.FRA_TUN_ID]) != 0:
		why = "it is of packets of a tunnel"
	}
	if typ != Unicast {
		r.Table = 0
	}
	return r, why
}

// neighbours copies the known neighbours on interfaces of Ethernet.
func (l *liking) neighbours() error {
	const valid = unix.NUD_PERMANENT | unix.NUD_REACHABLE | unix.NUD_STALE | unix.NUD_DELAY | unix.NUD_PROBE
	for _, b := range l.seen.Neighbours {
		n, state, ok := l.neighbour(b)
		if !ok || state&valid == 0 || (n.MAC == nf.MAC{}) || n.Addr.Is6() && !l.cfg.hasIPv6() || !l.isEthernet(n.Dev) {
			continue
		}
		l.cfg.Neighbours = append(l.cfg.Neighbours, n)
	}
	for _, b := range l.seen.Proxies {
		if n, _, ok := l.neighbour(b); ok {
			l.miss(PartNeighbour, fmt.Sprintf("%v on %s", n.Addr, n.Dev), "that the host answers for it (proxy)")
		}
	}
	l.forwarding()
	return nil
}

// neighbour decodes an entry of the neighbour table. ok is false if its interface is not copied, or it has no address.
func (l *liking) neighbour(b []byte) (n Neighbour, state uint16, ok bool) {
	if len(b) < sizeofNdMsg {
		return n, 0, false
	}
	a, err := attributesOf(b[sizeofNdMsg:])
	if err != nil {
		return n, 0, false
	}
	n.Dev, n.Addr = l.names[binary.NativeEndian.Uint32(b[4:])], a.addr(unix.NDA_DST)
	if mac := a[unix.NDA_LLADDR]; len(mac) == len(n.MAC) {
		n.MAC = nf.MAC(mac)
	}
	_, known := familyOfHeader(b)
	return n, binary.NativeEndian.Uint16(b[8:]), known && n.Dev != "" && n.Addr.IsValid()
}

// forwarding notes what bridges and VXLANs do not learn from packets.
func (l *liking) forwarding() {
	entries := map[string]int{}
	var names []string
	for _, b := range l.seen.Forwarding {
		if len(b) < sizeofNdMsg {
			continue
		}
		a, err := attributesOf(b[sizeofNdMsg:])
		name := l.names[binary.NativeEndian.Uint32(b[4:])]
		if err != nil || name == "" {
			continue
		}
		to := a.addr(unix.NDA_DST)
		d, _ := l.cfg.device(name)
		v, _ := d.Kind.(VXLAN)
		static := to == netip.Addr{} && binary.NativeEndian.Uint16(b[8:])&unix.NUD_NOARP != 0 && b[10]&unix.NTF_SELF == 0 // net/bridge/br_fdb.c, fdb_to_nud
		if static || to.IsValid() && to != v.Remote {
			if entries[name] == 0 {
				names = append(names, name)
			}
			entries[name]++
		}
	}
	for _, name := range names {
		l.miss(PartNeighbour, "", "entries of the forwarding table of %s (%d): an Env learns from packets alone", name, entries[name])
	}
}
