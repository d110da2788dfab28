package netnsenv

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// Each wrong Config is an error that names the device or link and what is wrong with it.
func TestInvalidDevices(t *testing.T) {
	t.Parallel()
	device := func(d ...Device) Config { return Config{Links: []LinkConfig{{Name: "eth0"}}, Devices: d} }
	kind := func(k DeviceKind) Config { return device(Device{Name: "d", Kind: k}) }
	port := func(p Port, k DeviceKind) Config {
		return Config{Links: []LinkConfig{{Name: "eth0", Port: p}}, Devices: []Device{{Name: "d", Kind: k}}}
	}
	key := [32]byte{1}
	for want, cfg := range map[string]Config{
		`devices[0]: it has no name`:                                               device(Device{}),
		`device "d": it has no Kind, such as netnsenv.Bridge{}`:                    device(Device{Name: "d"}),
		`device "a/b": not a valid name`:                                           device(Device{Name: "a/b", Kind: Dummy{}}),
		`device "eth0": the name is taken`:                                         device(Device{Name: "eth0", Kind: Dummy{}}),
		`device "lo": the name is taken`:                                           device(Device{Name: "lo", Kind: Dummy{}}),
		`device "d": the name is taken`:                                            device(Device{Name: "d", Kind: Dummy{}}, Device{Name: "d", Kind: Dummy{}}),
		`device "d": MTU 20: want 68 to 65535`:                                     device(Device{Name: "d", Kind: Dummy{}, MTU: 20}),
		`device "d": prefix 10.0.0.0/8: it is the network`:                         device(Device{Name: "d", Kind: Dummy{}, Prefixes: prefixesOf("10.0.0.0/8")}),
		`device "d": address 192.0.2.1 belongs to link "eth0" already`:             device(Device{Name: "d", Kind: Dummy{}, Prefixes: prefixesOf("192.0.2.1/32")}),
		`device "d": the default route 0.0.0.0/0 goes through link "eth0" already`: device(Device{Name: "d", Kind: Dummy{}, Routes: prefixesOf("0.0.0.0/0")}),

		`device "d" (bridge): VLANs without VLANFiltering`:                                 kind(Bridge{VLANs: []PortVLAN{{ID: 5}}}),
		`device "d" (bridge): VLAN 4095: want 1 to 4094`:                                   kind(Bridge{VLANFiltering: true, VLANs: []PortVLAN{{ID: 4095}}}),
		`device "d" (bridge): VLAN 5 twice`:                                                kind(Bridge{VLANFiltering: true, VLANs: []PortVLAN{{ID: 5}, {ID: 5, Tagged: true}}}),
		`device "d" (bridge): VLANs 5 and 6 are both untagged`:                             kind(Bridge{VLANFiltering: true, VLANs: []PortVLAN{{ID: 5}, {ID: 6}}}),
		`device "d" (vlan): VLAN 0: want 1 to 4094`:                                        kind(VLAN{Parent: "eth0"}),
		`device "d" (vlan): there is no link or earlier device "eth1"`:                     kind(VLAN{Parent: "eth1", ID: 5}),
		`device "d" (macvlan): there is no link or earlier device "d"`:                     kind(Macvlan{Parent: "d"}),
		`device "d" (macvlan): macvlan mode 9`:                                             kind(Macvlan{Parent: "eth0", Mode: 9}),
		`device "d" (ipvlan): ipvlan mode 9`:                                               kind(IPvlan{Parent: "eth0", Mode: 9}),
		`device "d" (vxlan): VXLAN 16777216: want 0 to 16777215`:                           kind(VXLAN{ID: 1 << 24}),
		`device "d" (vxlan): local ::1 and remote 192.0.2.2 are not of one family`:         kind(VXLAN{Local: netip.IPv6Loopback(), Remote: netip.MustParseAddr("192.0.2.2")}),
		`device "d" (vxlan): there is no link or earlier device "x"`:                       kind(VXLAN{Parent: "x"}),
		`device "d" (bond): bond mode 9`:                                                   kind(Bond{Mode: 9}),
		`device "d" (vrf): a VRF needs a Table`:                                            kind(VRF{}),
		`device "d" (wireguard): no PrivateKey`:                                            kind(WireGuard{}),
		`device "d" (wireguard): peer 0: no PublicKey`:                                     kind(WireGuard{PrivateKey: key, Peers: []WireGuardPeer{{}}}),
		`device "d" (wireguard): peer 0: keepalive 1ms: want whole seconds, at most 65535`: kind(WireGuard{PrivateKey: key, Peers: []WireGuardPeer{{PublicKey: key, Keepalive: time.Millisecond}}}),
		`device "d" (wireguard): peer 0: AllowedIPs has a prefix that is none`:             kind(WireGuard{PrivateKey: key, Peers: []WireGuardPeer{{PublicKey: key, AllowedIPs: make([]netip.Prefix, 1)}}}),
		`device "e" (vlan): device "d" (wireguard) has no Ethernet`:                        device(Device{Name: "d", Kind: WireGuard{PrivateKey: key}}, Device{Name: "e", Kind: VLAN{Parent: "d", ID: 5}}),
		`device "d" (vlan): link "eth0" is a tun, which has no Ethernet: set LinkConfig.Kind to netnsenv.Veth`: {
			Links: []LinkConfig{{Name: "eth0", Kind: Tun}}, Devices: []Device{{Name: "d", Kind: VLAN{Parent: "eth0", ID: 5}}},
		},

		`link "eth0": port of "e": there is no such device`:                                port(Port{Of: "e"}, Bridge{}),
		`device "d": port of "d": there is no such device`:                                 device(Device{Name: "d", Kind: Bridge{}, Port: Port{Of: "d"}}),
		`link "eth0": port of "d": a dummy has no ports`:                                   port(Port{Of: "d"}, Dummy{}),
		`link "eth0": its Port has no Of: want the name of a bridge`:                       port(Port{Hairpin: true}, Bridge{}),
		`link "eth0": port of "d": it has VLANs, but the bridge has no VLANFiltering`:      port(Port{Of: "d", VLANs: []PortVLAN{{ID: 5}}}, Bridge{}),
		`link "eth0": port of "d": VLAN 0: want 1 to 4094`:                                 port(Port{Of: "d", VLANs: []PortVLAN{{}}}, Bridge{VLANFiltering: true}),
		`link "eth0": port of "d": VLANs, Hairpin and Isolated are of ports of a bridge, `: port(Port{Of: "d", Isolated: true}, VRF{Table: 5}),
	} {
		if _, err := cfg.normalize(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// Wrong routes, rules and neighbours are errors that name them.
func TestInvalidRouting(t *testing.T) {
	t.Parallel()
	addr := netip.MustParseAddr
	route := func(r ...Route) Config { return Config{Routes: r} }
	rule := func(r RoutingRule) Config { return Config{RoutingRules: []RoutingRule{r}} }
	neighbour := func(n Neighbour) Config { return Config{Neighbours: []Neighbour{n}} }
	for want, cfg := range map[string]Config{
		`route default: it has neither Via nor Dev`:                      route(Route{}),
		`route default dev x: there is no link or device "x"`:            route(Route{Dev: "x"}),
		`route 10.0.0.0/8 via ::1: the gateway ::1 is of another family`: route(Route{To: netip.MustParsePrefix("10.0.0.0/8"), Via: addr("::1")}),
		`route blackhole default dev tun0: only a unicast route has`:     route(Route{Type: Blackhole, Dev: "tun0"}),
		`route route type 9 default: type 9: want Unicast to Local`:      route(Route{Type: 9}),
		`route ::ffff:0.0.0.0/96 dev tun0: want an IPv4 prefix`:          route(Route{To: netip.MustParsePrefix("::ffff:0.0.0.0/96"), Dev: "tun0"}),
		`route default via 192.0.2.3 src 192.0.2.1 metric 7 table 9: it has the destination, metric and table of the route default via 192.0.2.2 metric 7 table 9: give one another metric`: route(
			Route{Via: addr("192.0.2.2"), Metric: 7, Table: 9}, Route{Via: addr("192.0.2.3"), Metric: 7, Table: 9, Src: addr("192.0.2.1")}),

		`routing rule 0: it has no Table`:                        rule(RoutingRule{}),
		`routing rule 0: blackhole takes no Table`:               rule(RoutingRule{Type: Blackhole, Table: 5}),
		`routing rule 0: type 4: want Unicast, Blackhole`:        rule(RoutingRule{Type: Throw}),
		`routing rule 0: from 10.0.0.0/8 and to ::/0 are not of`: rule(RoutingRule{Table: 5, From: netip.MustParsePrefix("10.0.0.0/8"), To: netip.MustParsePrefix("::/0")}),

		`neighbour 00:00:00:00:00:00 on "tun0": it has no address`: neighbour(Neighbour{Dev: "tun0"}),
		`neighbour 192.0.2.2: there is no link or device "x"`:      neighbour(Neighbour{Dev: "x", Addr: addr("192.0.2.2")}),
		`neighbour 192.0.2.2: link "tun0" is a tun`:                {Links: []LinkConfig{{Kind: Tun}}, Neighbours: []Neighbour{{Dev: "tun0", Addr: addr("192.0.2.2")}}},
	} {
		if _, err := cfg.normalize(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// Nil addresses and routes of the only link are the default, empty ones are none; and a port of a bridge has none by default.
func TestNilAndEmptyAddressesDiffer(t *testing.T) {
	t.Parallel()
	none, all := []netip.Prefix{}, prefixesOf("0.0.0.0/0")
	host := prefixesOf("192.0.2.1/24")
	bridge := []Device{{Name: "br0", Kind: Bridge{}}}
	for name, tt := range map[string]struct {
		cfg  Config
		want [2][]netip.Prefix // Prefixes, Routes
	}{
		"nil":            {Config{Links: []LinkConfig{{}}}, [2][]netip.Prefix{host, all}},
		"no routes":      {Config{Links: []LinkConfig{{Routes: none}}}, [2][]netip.Prefix{host, none}},
		"no addresses":   {Config{Links: []LinkConfig{{Prefixes: none}}}, [2][]netip.Prefix{none, nil}},
		"two links":      {Config{Links: []LinkConfig{{}, {}}}, [2][]netip.Prefix{nil, nil}},
		"a bridge":       {Config{Links: []LinkConfig{{Port: Port{Of: "br0"}}}, Devices: bridge}, [2][]netip.Prefix{nil, nil}},
		"a VRF":          {Config{Links: []LinkConfig{{Port: Port{Of: "v"}}}, Devices: []Device{{Name: "v", Kind: VRF{Table: 5}}}}, [2][]netip.Prefix{host, all}},
		"a gateway":      {Config{Routes: []Route{{Via: netip.MustParseAddr("192.0.2.2")}}}, [2][]netip.Prefix{host, nil}},
		"another route":  {Config{Routes: []Route{{Via: netip.MustParseAddr("192.0.2.2"), Table: 7}}}, [2][]netip.Prefix{host, all}},
		"of IPv6":        {Config{Routes: []Route{{Via: netip.MustParseAddr("2001:db8::2")}}}, [2][]netip.Prefix{host, all}},
		"to everything":  {Config{Routes: []Route{{To: all[0], Dev: "tun0"}}}, [2][]netip.Prefix{host, nil}},
		"to a blackhole": {Config{Routes: []Route{{Type: Blackhole}}}, [2][]netip.Prefix{host, nil}},
	} {
		c, err := tt.cfg.normalize()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := [2][]netip.Prefix{c.Links[0].Prefixes, c.Links[0].Routes}
		if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// An address is behind the link with the longest prefix, also if that is of a bridge or of a route.
func TestBehind(t *testing.T) {
	t.Parallel()
	c, err := Config{
		Links: []LinkConfig{
			{Name: "eth0", Port: Port{Of: "br0"}}, {Name: "eth1", Prefixes: prefixesOf("198.51.100.1/24"), Routes: prefixesOf("203.0.113.0/24")},
		},
		Devices: []Device{
			{Name: "br0", Kind: Bridge{}, Port: Port{Of: "red"}, Prefixes: prefixesOf("10.0.0.1/8")},
			{Name: "red", Kind: VRF{Table: 9}, Prefixes: prefixesOf("10.9.9.9/32")},
		},
		Routes: []Route{{To: netip.MustParsePrefix("10.1.0.0/16"), Via: netip.MustParseAddr("198.51.100.2")}, {To: netip.MustParsePrefix("203.0.113.8/32"), Dev: "br0"}},
	}.normalize()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, a := range []string{"10.2.0.1", "10.1.0.1", "198.51.100.9", "203.0.113.9", "203.0.113.8", "10.9.9.9", "8.8.8.8"} {
		got[a] = c.Behind(netip.MustParseAddr(a))
	}
	want := map[string]string{
		"10.2.0.1": "eth0", "10.1.0.1": "eth1", "198.51.100.9": "eth1", "203.0.113.9": "eth1", "203.0.113.8": "eth0", "10.9.9.9": "eth0", "8.8.8.8": "eth0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
	if got := (Config{}).Behind(netip.MustParseAddr("8.8.8.8")); got != "" {
		t.Errorf("without links it is behind %q", got)
	}
}
