package netnsenv_test

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
)

func ExampleShape() {
	s := netnsenv.ClientRouterServer()
	s.Host("router").Rules = []netnsenv.Ruleset{netnsenv.NFT(`table ip t { chain c { type filter hook forward priority 0; tcp dport 80 drop; }; }`)}
	for _, w := range s.Wires {
		fmt.Println(w.From, w.Wire.A.Prefixes, "-", w.To, w.Wire.B.Prefixes)
	}
	// Output:
	// client [10.0.1.2/24] - router [10.0.1.1/24]
	// server [10.0.2.2/24] - router [10.0.2.1/24]
}

func ExampleRouter() {
	cfg := netnsenv.Router()
	cfg.Rules = []netnsenv.Ruleset{netnsenv.NFT(`table ip t { chain c { type filter hook forward priority 0; ct state invalid drop; }; }`)}
	fmt.Println(cfg.Links[0].Name, cfg.Links[0].Prefixes, cfg.Links[1].Name, cfg.Links[1].Prefixes)
	// Output: client [10.0.1.1/24] server [10.0.2.1/24]
}

func shape(t *testing.T, s netnsenv.Shape) map[string]*netnsenv.Env {
	t.Helper()
	envs, err := netnsenv.OpenShape(t.Context(), s)
	needs.Check(t, err)
	t.Cleanup(func() {
		for _, e := range envs {
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return envs
}

// udp is a socket of a host.
func udp(t *testing.T, e *netnsenv.Env, address string) net.PacketConn {
	t.Helper()
	c, err := e.ListenPacket(t.Context(), "udp", address)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetDeadline(latest(t)); err != nil {
		t.Fatal(err)
	}
	return c
}

// hear returns what a socket receives next, and from where.
func hear(t *testing.T, c net.PacketConn) (text string, from net.Addr) {
	t.Helper()
	b := make([]byte, 100)
	n, from, err := c.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n]), from
}

func say(t *testing.T, c net.PacketConn, to, text string) {
	t.Helper()
	if _, err := c.WriteTo([]byte(text), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to))); err != nil {
		t.Fatal(err)
	}
}

// The hosts of each shape reach each other, and the one in between tracks what passes it.
func TestShapes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		shape                      netnsenv.Shape
		from, fromAddr, to, toAddr string
		between                    string
		entries                    int
		wantFrom                   string
	}{
		"client, router, server": {netnsenv.ClientRouterServer(), "client", "10.0.1.2:1000", "server", "10.0.2.2:7", "router", 1, "10.0.1.2:1000"},
		"pod, node, pod":         {netnsenv.PodNodePod(), "a", "10.244.0.2:1000", "b", "10.244.0.3:7", "node", 0, "10.244.0.2:1000"},
		"pod, node":              {netnsenv.PodNodePod(), "a", "10.244.0.2:1000", "node", "10.244.0.1:7", "node", 1, "10.244.0.2:1000"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			envs := shape(t, tt.shape)
			from, to := udp(t, envs[tt.from], tt.fromAddr), udp(t, envs[tt.to], tt.toAddr)
			say(t, from, tt.toAddr, "ping")
			text, addr := hear(t, to)
			say(t, to, addr.String(), "pong")
			back, _ := hear(t, from)
			if text != "ping" || addr.String() != tt.wantFrom || back != "pong" {
				t.Errorf("%q from %v, %q back, want ping from %s and pong", text, addr, back, tt.wantFrom)
			}
			if n := count(t, envs[tt.between]); n != tt.entries {
				t.Errorf("%d entries between them, want %d", n, tt.entries)
			}
		})
	}
}

// Two clients behind NATs learn from a rendezvous where the other's packets come from, and then talk without it.
func TestTwoNATsLetHolesBePunched(t *testing.T) {
	t.Parallel()
	envs := shape(t, netnsenv.TwoNATs())
	alice, bob := udp(t, envs["alice"], "192.168.1.2:1000"), udp(t, envs["bob"], "192.168.2.2:2000")
	rendezvous := udp(t, envs["rendezvous"], ":3478")

	say(t, alice, "198.51.100.1:3478", "alice")
	_, aliceAt := hear(t, rendezvous)
	say(t, bob, "203.0.113.1:3478", "bob")
	_, bobAt := hear(t, rendezvous)
	say(t, alice, bobAt.String(), "hole") // dropped or rejected by bob's NAT, which knows of nothing
	say(t, bob, aliceAt.String(), "hello from bob")
	heard, from := hear(t, alice)
	say(t, alice, from.String(), "hello from alice")
	answer, _ := hear(t, bob)

	got := strings.Join([]string{aliceAt.String(), bobAt.String(), heard, from.String(), answer}, ", ")
	want := "198.51.100.2:1000, 203.0.113.2:2000, hello from bob, 203.0.113.2:2000, hello from alice"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what was heard (-want +got):\n%s", diff)
	}
}

// The experiment plays the pods of a node and its client: packets between pods do not meet conntrack, others are forwarded.
func TestNodeForwardsForItsPods(t *testing.T) {
	t.Parallel()
	cfg := netnsenv.Node(2)
	cfg.Links[0].Kind = netnsenv.Veth
	env := open(t, cfg)
	way := func(link, src, dst string) string {
		t.Helper()
		l := env.Link(link)
		p := packet.Flow{Src: addrPort(src), Dst: addrPort(dst)}.UDP([]byte("x"))
		to := l.HardwareAddr()
		if link == "pod0" && strings.HasPrefix(dst, "10.244.0.3") {
			to = env.Link("pod1").PeerHardwareAddr()
		}
		if _, err := inject.New(l).SendFrames(t.Context(), packet.Frames(p.Frame(l.PeerHardwareAddr(), to))); err != nil {
			t.Fatal(err)
		}
		return leftBy(t, env)
	}
	got := []string{
		way("pod0", "10.244.0.2:1", "8.8.8.8:1"), way("pod1", "10.244.0.3:1", "8.8.8.8:1"),
		way("eth0", "8.8.8.8:1", "10.244.0.2:1"), way("eth0", "8.8.8.8:1", "10.244.0.3:1"), way("pod0", "10.244.0.2:5", "10.244.0.3:5"),
	}
	if diff := cmp.Diff([]string{"eth0", "eth0", "pod0", "pod1", "pod1"}, got); diff != "" {
		t.Errorf("where they left (-want +got):\n%s", diff)
	}
	if n := count(t, env); n != 2 {
		t.Errorf("%d entries, want those of two flows with the world", n)
	}
}

// Wrong shapes are errors that name the host or the wire.
func TestInvalidShapes(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*netnsenv.Shape){
		`netnsenv: host "client" twice`:                                         func(s *netnsenv.Shape) { s.Hosts[1].Name = "client" },
		`netnsenv: wire from "client" to "x": there is no host "x"`:             func(s *netnsenv.Shape) { s.Wires[0].To = "x" },
		`netnsenv: wire from "client" to "router": join: A: link "eth0": MTU 1`: func(s *netnsenv.Shape) { s.Wires[0].Wire.A.MTU = 1 },
		`host "router": netnsenv: sysctl "kernel.x"`:                            func(s *netnsenv.Shape) { s.Host("router").Sysctls = map[string]string{"kernel.x": "1"} },
	} {
		s := netnsenv.ClientRouterServer()
		change(&s)
		if _, err := netnsenv.OpenShape(t.Context(), s); !strings.HasPrefix(fmt.Sprint(err), want) {
			needs.Check(t, err)
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	defer func() {
		if got := fmt.Sprint(recover()); got != `netnsenv: Shape.Host: there is no host "x"` {
			t.Errorf("panic %s", got)
		}
	}()
	netnsenv.TwoNATs().Host("x")
}
