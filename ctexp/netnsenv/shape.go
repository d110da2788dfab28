package netnsenv

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
)

// Router returns a router under test between two links, of which the experiment plays both ends: "client", 10.0.1.1/24, and
// "server", 10.0.2.1/24.
//
//	client 10.0.1.2 ── 10.0.1.1 router 10.0.2.1 ── 10.0.2.2 server
func Router() Config {
	return Config{
		Links: []LinkConfig{
			{Name: "client", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.1.1/24")}},
			{Name: "server", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.2.1/24")}},
		},
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
	}
}

// Node returns a node of a cluster with pods, at most 200, on a bridge cni0, 10.244.0.1/24. The experiment plays the pods
// 10.244.0.2, .3, … at the links "pod0", "pod1", …, and the world at the link "eth0", 192.0.2.1/24, by which the default route
// leads.
//
//	pod0 10.244.0.2 ──┐
//	pod1 10.244.0.3 ──┴ cni0 10.244.0.1 node 192.0.2.1 eth0 ── world
func Node(pods int) Config {
	cfg := Config{
		Links: []LinkConfig{{
			Name: "eth0", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}, Routes: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")},
		}},
		Devices: []Device{{Name: "cni0", Kind: Bridge{}, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.244.0.1/24")}}},
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
	}
	for i := range pods {
		cfg.Links = append(cfg.Links, LinkConfig{Name: fmt.Sprintf("pod%d", i), Port: Port{Of: "cni0"}})
		cfg.Neighbours = append(cfg.Neighbours, Neighbour{Dev: "cni0", Addr: netip.AddrFrom4([4]byte{10, 244, 0, byte(2 + i)}), MAC: outsider(1 + i)})
	}
	return cfg
}

// Shape is a drawing of hosts and of the wires between them. It is a plain value: change the Config of a Host before it is opened.
type Shape struct {
	Hosts []Host      // with different names
	Wires []ShapeWire // in the order in which they are made
}

// Host is a host of a Shape.
type Host struct {
	Name   string // within the Shape
	Config Config // of its Env; Links that are not nil but empty are none
}

// ShapeWire is a wire of a Shape.
type ShapeWire struct {
	From, To string // the names of the hosts with the ends A and B
	Wire     Wire   // how they are joined
}

// Host returns the Config of a host, to be changed in place. It panics if there is no such host.
func (s Shape) Host(name string) *Config {
	for i := range s.Hosts {
		if s.Hosts[i].Name == name {
			return &s.Hosts[i].Config
		}
	}
	panic(fmt.Sprintf("netnsenv: Shape.Host: there is no host %q", name))
}

// ClientRouterServer returns three hosts with sockets of their own, "client", "router" and "server". The router's ends are
// named after the others, theirs eth0.
//
//	client 10.0.1.2 ── 10.0.1.1 router 10.0.2.1 ── 10.0.2.2 server
func ClientRouterServer() Shape {
	return Shape{
		Hosts: []Host{host("client"), router("router"), host("server")},
		Wires: []ShapeWire{
			spoke("client", "10.0.1.2/24", "router", LinkConfig{Name: "client", Prefixes: one("10.0.1.1/24")}),
			spoke("server", "10.0.2.2/24", "router", LinkConfig{Name: "server", Prefixes: one("10.0.2.1/24")}),
		},
	}
}

// PodNodePod returns two pods "a" and "b" on the bridge cni0 of a "node", with sockets of their own. The ends of the node are
// named after the pods, theirs eth0.
//
//	a 10.244.0.2 ──┐
//	b 10.244.0.3 ──┴ cni0 10.244.0.1 node
func PodNodePod() Shape {
	node := router("node")
	node.Config.Devices = []Device{{Name: "cni0", Kind: Bridge{}, Prefixes: one("10.244.0.1/24"), ARP: true}}
	return Shape{
		Hosts: []Host{host("a"), node, host("b")},
		Wires: []ShapeWire{
			spoke("a", "10.244.0.2/24", "node", LinkConfig{Name: "a", Port: Port{Of: "cni0"}}),
			spoke("b", "10.244.0.3/24", "node", LinkConfig{Name: "b", Port: Port{Of: "cni0"}}),
		},
	}
}

// TwoNATs returns two clients behind a NAT each, and a rendezvous between these, which forwards: "alice", "nata", "rendezvous",
// "natb" and "bob". The NATs masquerade what leaves by their end "wan", by nft, and drop what is NEW there, as the routers of homes
// do: if a packet of the peer made an entry, the port of the own client would be taken, and its packets would leave from another.
//
//	alice 192.168.1.2 ── nata 198.51.100.2 ── 198.51.100.1 rendezvous 203.0.113.1 ── 203.0.113.2 natb ── 192.168.2.2 bob
func TwoNATs() Shape {
	nat := func(name string) Host {
		h := router(name)
		h.Config.Rules = []Ruleset{MissingLinks(NFT(`table ip nat {
			chain postrouting {
				type nat hook postrouting priority srcnat
				oifname "wan" masquerade
			}
			chain input {
				type filter hook input priority filter
				iifname "wan" ct state new drop
			}
			chain forward {
				type filter hook forward priority filter
				iifname "wan" ct state new drop
			}
		}`), "wan")}
		return h
	}
	wan := func(from, address, name, far string) ShapeWire {
		w := spoke(from, address, "rendezvous", LinkConfig{Name: name, Prefixes: one(far)})
		w.Wire.A.Name = "wan"
		return w
	}
	return Shape{
		Hosts: []Host{host("alice"), nat("nata"), router("rendezvous"), nat("natb"), host("bob")},
		Wires: []ShapeWire{
			spoke("alice", "192.168.1.2/24", "nata", LinkConfig{Name: "lan", Prefixes: one("192.168.1.1/24")}),
			spoke("bob", "192.168.2.2/24", "natb", LinkConfig{Name: "lan", Prefixes: one("192.168.2.1/24")}),
			wan("nata", "198.51.100.2/24", "nata", "198.51.100.1/24"),
			wan("natb", "203.0.113.2/24", "natb", "203.0.113.1/24"),
		},
	}
}

func one(prefix string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(prefix)} }

func host(name string) Host { return Host{name, Config{Links: []LinkConfig{}}} }

func router(name string) Host {
	h := host(name)
	h.Config.Sysctls = map[string]string{"net.ipv4.ip_forward": "1"}
	return h
}

// spoke is a wire from eth0 of a host, whose default route it is, to another.
func spoke(from, address, to string, end LinkConfig) ShapeWire {
	return ShapeWire{from, to, Wire{A: LinkConfig{Name: "eth0", Prefixes: one(address), Routes: one("0.0.0.0/0")}, B: end}}
}

// Join makes the wires of the shape between Envs that are open, by the names of their hosts.
func (s Shape) Join(ctx context.Context, envs map[string]*Env) error {
	for _, w := range s.Wires {
		for _, name := range []string{w.From, w.To} {
			if envs[name] == nil {
				return fmt.Errorf("wire from %q to %q: there is no host %q", w.From, w.To, name)
			}
		}
		if err := Join(ctx, envs[w.From], envs[w.To], w.Wire); err != nil {
			return fmt.Errorf("wire from %q to %q: %w", w.From, w.To, err)
		}
	}
	return nil
}

// OpenShape opens an Env for each host, by its name, and joins them. After an error nothing is left open; else the caller closes the
// Envs, in any order.
//
//	envs, err := netnsenv.OpenShape(ctx, netnsenv.ClientRouterServer())
//	…
//	l, err := envs["server"].Listen(ctx, "tcp", "10.0.2.2:80")
//	c, err := envs["client"].Dial(ctx, "tcp", "10.0.2.2:80")
func OpenShape(ctx context.Context, s Shape) (envs map[string]*Env, err error) {
	envs = map[string]*Env{}
	defer func() {
		if err != nil {
			for _, e := range envs {
				err = errors.Join(err, e.Close())
			}
			envs = nil
		}
	}()
	for _, h := range s.Hosts {
		if envs[h.Name] != nil {
			return envs, fmt.Errorf("netnsenv: host %q twice", h.Name)
		}
		e, err := Open(ctx, h.Config)
		if err != nil {
			return envs, fmt.Errorf("host %q: %w", h.Name, err)
		}
		envs[h.Name] = e
	}
	if err := s.Join(ctx, envs); err != nil {
		return envs, fmt.Errorf("netnsenv: %w", err)
	}
	return envs, nil
}
