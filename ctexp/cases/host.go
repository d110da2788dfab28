package cases

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// maxLinkName is the length of the longest name that a link of an Env may have (netnsenv.LinkConfig).
const maxLinkName = 11

// GuessLinks returns links for a host of which only rules and packets are known: one for each that the rules name, in their
// order, or eth0. The first has the default route and the addresses that packets go to before any comes from them, or 192.0.2.1/24;
// the others have 10.255.1.1/24, 10.255.2.1/24 and so on. Names that no link can have are left out; see Config.
func GuessLinks(rules []netnsenv.Ruleset, packets []packet.Packet) []netnsenv.LinkConfig {
	return guessLinks(rules, packets, nil)
}

// GuessLinks is the function of that name for the packets of the suite, with links also for those that its lines name.
func (s Suite) GuessLinks(rules []netnsenv.Ruleset) []netnsenv.LinkConfig {
	var named []string
	for _, b := range s.Blocks {
		for _, c := range b.Cases {
			named = append(named, c.Trial.Link, c.Want.Link)
		}
	}
	return guessLinks(rules, s.Packets(), named)
}

func guessLinks(rules []netnsenv.Ruleset, packets []packet.Packet, named []string) []netnsenv.LinkConfig {
	var names []string
	add := func(name string) {
		if isLinkName(name) && name != "lo" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, r := range rules {
		for _, name := range linksOf(r) {
			add(strings.TrimRight(strings.ReplaceAll(name, "*", "0"), "+"))
		}
	}
	for _, name := range named {
		add(name)
	}
	if len(names) == 0 {
		names = []string{"eth0"}
	}
	links := make([]netnsenv.LinkConfig, len(names))
	for i, name := range names {
		links[i] = netnsenv.LinkConfig{Name: name, Routes: []netip.Prefix{}, Prefixes: []netip.Prefix{}}
		if i > 0 && i < 255 {
			links[i].Prefixes = append(links[i].Prefixes, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 255, byte(i), 1}), 24))
		}
	}
	first := &links[0]
	first.Prefixes = hostAddresses(packets)
	first.Routes = defaultRoutes(first.Prefixes)
	return links
}

// linksOf returns the links that rules name, also those of a file.
func linksOf(r netnsenv.Ruleset) []string {
	if n, ok := r.(named); ok {
		r = n.Ruleset
	}
	return netnsenv.LinksOf(r)
}

func isLinkName(name string) bool {
	return name != "" && len(name) <= maxLinkName && !strings.ContainsAny(name, "/:%[]{}$@ \t")
}

// hostAddresses returns the addresses that packets go to before any comes from them, with their lengths, or 192.0.2.1/24.
func hostAddresses(packets []packet.Packet) (prefixes []netip.Prefix) {
	others, own := map[netip.Addr]bool{}, map[netip.Addr]bool{}
	broadcast := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	for _, p := range packets {
		src, dst := p.Tuple().Src.Addr(), p.Tuple().Dst.Addr()
		if !own[src] {
			others[src] = true
		}
		if !dst.IsValid() || own[dst] || others[dst] || dst.IsMulticast() || dst.IsUnspecified() || dst.IsLoopback() || dst == broadcast {
			continue
		}
		own[dst] = true
		prefixes = append(prefixes, netip.PrefixFrom(dst, dst.BitLen()))
	}
	if len(prefixes) == 0 {
		return []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}
	}
	return prefixes
}

// LinksText returns links as ParseLinks reads them, one in a line.
func LinksText(links []netnsenv.LinkConfig) string {
	var b strings.Builder
	for _, l := range links {
		b.WriteString(l.Name)
		for _, p := range l.Prefixes {
			fmt.Fprintf(&b, " %v", p)
		}
		var routes []string
		for _, p := range l.Routes {
			if p.Bits() == 0 && slices.Contains(defaultRoutes(l.Prefixes), p) {
				if !strings.HasSuffix(b.String(), " default") {
					b.WriteString(" default")
				}
				continue
			}
			routes = append(routes, p.String())
		}
		if len(routes) > 0 {
			fmt.Fprintf(&b, " route %s", strings.Join(routes, " "))
		}
		if l.MTU > 0 {
			fmt.Fprintf(&b, " mtu %d", l.MTU)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Config returns the Config of a router with these links and rules that answers nothing by itself: Silent, and forwarding. Rules
// may name links that cannot exist, such as "/never/"; those match nothing.
func Config(links []netnsenv.LinkConfig, rules ...netnsenv.Ruleset) netnsenv.Config {
	cfg := netnsenv.Config{Links: links, Silent: true, Sysctls: map[string]string{"net.ipv4.ip_forward": "1"}}
	if hasIPv6(links) {
		cfg.Sysctls["net.ipv6.conf.all.forwarding"] = "1"
	}
	for _, r := range rules {
		cfg.Rules = append(cfg.Rules, withoutImpossible(r))
	}
	return cfg
}

func hasIPv6(links []netnsenv.LinkConfig) bool {
	return slices.ContainsFunc(links, func(l netnsenv.LinkConfig) bool {
		return slices.ContainsFunc(l.Prefixes, func(p netip.Prefix) bool { return nf.FamilyOf(p.Addr()) == nf.IPv6 })
	})
}

// unlimited returns a Config without the limits of ICMP errors, unless it sets them itself: by those, six rejects in a row are
// answered, and then one in a second (net/ipv4/icmp.c, icmpv4_xrlim_allow; net/ipv6/icmp.c, icmpv6_xrlim_allow). What a packet
// meets must not depend on how fast it follows another.
func unlimited(cfg netnsenv.Config) netnsenv.Config {
	sysctls := map[string]string{"net.ipv4.icmp_ratemask": "0"} // the types that are limited
	if hasIPv6(cfg.Links) {
		sysctls["net.ipv6.icmp.ratemask"] = "255" // a type that nobody sends
	}
	maps.Copy(sysctls, cfg.Sysctls)
	cfg.Sysctls = sysctls
	return cfg
}

// withoutImpossible returns rules that may name links which no host can have, or which are too long for an Env.
func withoutImpossible(r netnsenv.Ruleset) netnsenv.Ruleset {
	var impossible []string
	for _, name := range linksOf(r) {
		if !isLinkName(name) {
			impossible = append(impossible, name)
		}
	}
	return MissingLinks(r, impossible...)
}

// MissingLinks is netnsenv.MissingLinks for what Rules returns; without names r is returned as it is.
func MissingLinks(r netnsenv.Ruleset, names ...string) netnsenv.Ruleset {
	if len(names) == 0 {
		return r
	}
	if n, ok := r.(named); ok {
		n.Ruleset = netnsenv.MissingLinks(n.Ruleset, names...)
		return n
	}
	return netnsenv.MissingLinks(r, names...)
}
