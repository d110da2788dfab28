package netnsenv

import (
	"net/netip"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// Whatever messages of rtnetlink say, they are copied, told or an error: nothing panics.
func FuzzLikeness(f *testing.F) {
	prefixes := []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8::1/64")}
	via := netip.MustParseAddr("192.0.2.9")
	e, err := Open(f.Context(), Config{
		Links: []LinkConfig{
			{Name: "eth0", Kind: Veth, Prefixes: prefixes}, {Name: "eth1", Kind: Veth, Port: Port{Of: "br0"}}, {Name: "down0", Kind: Veth, Down: true},
		},
		Devices: []Device{{Name: "br0", Kind: Bridge{}, ARP: true, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}}},
		Routes: []Route{
			{Via: via, Dev: "eth0", Metric: 7}, {To: netip.MustParsePrefix("198.51.100.0/24"), Type: Blackhole, Table: 100},
		},
		RoutingRules: []RoutingRule{{Priority: 5, From: netip.MustParsePrefix("10.0.0.0/8"), Mark: 5, Table: 100, Not: true}},
		Neighbours:   []Neighbour{{Dev: "eth0", Addr: via, MAC: nf.MAC{2}}},
	})
	needs.Check(f, err)
	var s sighting
	err = e.do(s.dumps)
	if cerr := e.Close(); err != nil || cerr != nil {
		f.Fatal(err, cerr)
	}
	for kind, all := range [][][]byte{s.Interfaces, s.Bridges, s.Addresses, s.Routes, s.RoutingRules, s.Neighbours, s.Proxies, s.Forwarding, s.Queues} {
		for _, b := range all {
			f.Add(uint8(kind), b)
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		seen := s
		for i, into := range []*[][]byte{
			&seen.Interfaces, &seen.Bridges, &seen.Addresses, &seen.Routes, &seen.RoutingRules, &seen.Neighbours, &seen.Proxies, &seen.Forwarding, &seen.Queues,
		} {
			if i == int(kind) {
				*into = append((*into)[:len(*into):len(*into)], b)
			}
		}
		l := liking{seen: &seen, names: map[uint32]string{}}
		l.cfg.Links = []LinkConfig{}
		for _, step := range []func() error{l.interfaces, l.addresses, l.routes, l.routingRules, l.neighbours} {
			if step() != nil {
				return
			}
		}
		if c, err := l.cfg.normalize(); err == nil && len(c.Links) == 0 {
			t.Errorf("no links of %d interfaces", len(seen.Interfaces))
		}
	})
}
