// Package procnet reads the links of a network namespace from the files that /proc/PID/net shows to everybody.
package procnet

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Files are the names of the files that Links reads. Those with a 6 are missing where the kernel has no IPv6.
var Files = []string{"route", "fib_trie", "if_inet6", "ipv6_route"}

// Link is a link with its addresses, and the networks that are reached by it.
type Link struct {
	Name             string
	Prefixes, Routes []netip.Prefix // not nil
}

// Links returns the links that the texts of Files tell, by the name of the file.
func Links(texts map[string]string) []Link {
	lines := func(name string) (lines [][]string) {
		for l := range strings.Lines(texts[name]) {
			if f := strings.Fields(l); len(f) > 0 {
				lines = append(lines, f)
			}
		}
		return lines
	}
	r := reader{byName: map[string]int{}}
	r.ipv4(lines("route"), localAddresses(lines("fib_trie")))
	r.ipv6(lines("if_inet6"), lines("ipv6_route"))
	return r.links
}

// reader collects links by their names.
type reader struct {
	links  []Link
	byName map[string]int
}

func (l *reader) link(name string) *Link {
	i, known := l.byName[name]
	if !known {
		i = len(l.links)
		l.byName[name] = i
		l.links = append(l.links, Link{Name: name, Prefixes: []netip.Prefix{}, Routes: []netip.Prefix{}})
	}
	return &l.links[i]
}

// ipv4 reads the lines of /proc/net/route: a local address within a network that has no gateway is one of its link.
func (l *reader) ipv4(routes [][]string, local []netip.Addr) {
	type route struct {
		link string
		to   netip.Prefix
		via  bool
	}
	var all []route
	for _, f := range routes {
		if len(f) < 8 || f[0] == "Iface" {
			continue
		}
		dst, ok := reversed(f[1])
		mask, ok2 := reversed(f[7])
		if !ok || !ok2 {
			continue
		}
		bits := 0
		for _, b := range mask.As4() {
			for ; b != 0; b <<= 1 {
				bits++
			}
		}
		all = append(all, route{f[0], netip.PrefixFrom(dst, bits), f[2] != "00000000"})
	}
	own := map[netip.Addr]bool{}
	slices.SortStableFunc(all, func(a, b route) int { return b.to.Bits() - a.to.Bits() }) // the longest prefix first
	for _, r := range all {
		link, isOwn := l.link(r.link), false
		for _, a := range local {
			if !r.via && r.to.Contains(a) && !own[a] && r.to.Bits() > 0 {
				own[a], isOwn = true, true
				link.Prefixes = append(link.Prefixes, netip.PrefixFrom(a, r.to.Bits()))
			}
		}
		if !isOwn && !slices.Contains(link.Routes, r.to) {
			link.Routes = append(link.Routes, r.to)
		}
	}
}

// reversed reads an address of /proc/net/route, which is in the order of the host's bytes.
func reversed(text string) (netip.Addr, bool) {
	n, err := strconv.ParseUint(text, 16, 32)
	return netip.AddrFrom4([4]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}), err == nil
}

// localAddresses returns the host's own addresses in /proc/net/fib_trie, each once: those whose leaf is "/32 host LOCAL".
func localAddresses(trie [][]string) (local []netip.Addr) {
	var leaf netip.Addr
	for _, f := range trie {
		switch {
		case len(f) == 2 && f[0] == "|--":
			leaf, _ = netip.ParseAddr(f[1])
		case len(f) == 3 && f[0] == "/32" && f[2] == "LOCAL" && leaf.IsValid() && !leaf.IsLoopback() && !slices.Contains(local, leaf):
			local = append(local, leaf)
		}
	}
	return local
}

// ipv6 reads the lines of /proc/net/if_inet6 and ipv6_route. Addresses of a link alone are left out: each link has its own.
func (l *reader) ipv6(addresses, routes [][]string) {
	for _, f := range addresses {
		if len(f) != 6 || f[5] == "lo" {
			continue
		}
		if p, ok := hexPrefix(f[0], f[2]); ok && !p.Addr().IsLinkLocalUnicast() {
			link := l.link(f[5])
			link.Prefixes = append(link.Prefixes, p)
		}
	}
	for _, f := range routes {
		if len(f) != 10 || f[9] == "lo" {
			continue
		}
		p, ok := hexPrefix(f[0], f[1])
		i, known := l.byName[f[9]]
		if !ok || !known || p.Addr().IsLinkLocalUnicast() || p.Addr().IsMulticast() {
			continue
		}
		link := &l.links[i]
		own := slices.ContainsFunc(link.Prefixes, func(o netip.Prefix) bool { return o.Masked() == p || o.Addr() == p.Addr() })
		if !own && !slices.Contains(link.Routes, p) {
			link.Routes = append(link.Routes, p)
		}
	}
}

// hexPrefix reads an address of 32 hexadecimal digits and a length in hexadecimal.
func hexPrefix(address, length string) (netip.Prefix, bool) {
	b, err := hex.DecodeString(address)
	bits, err2 := strconv.ParseUint(length, 16, 8)
	if err != nil || err2 != nil || len(b) != 16 {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(netip.AddrFrom16([16]byte(b)), int(bits)), true
}
