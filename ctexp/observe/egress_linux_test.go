package observe_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/kernel"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// What a rule at the hook egress drops is lost behind postrouting, whatever its priority but the first, on links and on devices
// over them. The rule is certain if it has counted as much.
func TestDropsOnEgressAreLosses(t *testing.T) {
	t.Parallel()
	needs.Check(t, kernel.EgressHook.Lack())
	rule := func(device string, priority int, rule string) string {
		return fmt.Sprintf("table netdev n { chain c { type filter hook egress device %s priority %d; %s; }; }", device, priority, rule)
	}
	for name, c := range map[string]struct {
		rules string
		want  []string
	}{
		"counted":                     {rule("tun1", 0, "counter drop"), []string{"ipv4 postrouting, 2 of 2 lost: rule true 2"}},
		"not counted":                 {rule("tun1", 0, "drop"), []string{"ipv4 postrouting, 2 of 2 lost: rule false 0"}},
		"the policy":                  {"table netdev n { chain c { type filter hook egress device tun1 priority 0; policy drop; }; }", []string{"ipv4 postrouting, 2 of 2 lost: rule false 0"}},
		"some":                        {rule("tun1", 0, "udp sport 10001 counter drop"), []string{"ipv4 postrouting, 1 of 2 lost: rule true 1"}},
		"late":                        {rule("tun1", 2147483647, "counter drop"), []string{"ipv4 postrouting, 2 of 2 lost: rule true 2"}},
		"early":                       {rule("tun1", -2147483647, "counter drop"), []string{"ipv4 postrouting, 2 of 2 lost: rule true 2"}},
		"on another link":             {rule("tun0", 0, "counter drop"), nil},
		"that accepts":                {rule("tun1", 0, "counter accept"), nil},
		"a device":                    {rule("br0", 0, "counter drop"), nil},
		"counted before what matches": {rule("tun1", 0, "counter udp sport 10001 drop"), []string{"ipv4 postrouting, 1 of 2 lost: rule false 0"}},
		"on lo":                       {rule("lo", 0, "counter drop"), []string{"ipv4 postrouting, 1 of 3 lost: rule true 1"}},
		"forwarded by a rule":         {rule("tun1", 0, "fwd to tun0"), []string{"ipv4 postrouting, 2 of 2 lost: unknown false 0"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := router()
			cfg.Devices = []netnsenv.Device{{Name: "br0", Kind: netnsenv.Bridge{}}}
			cfg.Rules = []netnsenv.Ruleset{netnsenv.NFT(c.rules)}
			x := open(t, cfg)

			x.sendBy("tun0", web.UDP(nil), web.Nth(1).UDP(nil))
			if name == "on lo" {
				c, err := x.env.Dial(t.Context(), "udp", "127.0.0.1:9")
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if _, err := c.Write([]byte("to itself")); err != nil {
					t.Fatal(err)
				}
			}

			if diff := cmp.Diff(c.want, x.causes()); diff != "" {
				t.Errorf("(-want +got):\n%s\n%v", diff, x.path())
			}
		})
	}
}

// A rule that has counted packets of one family is not certain for those that another one took of the other, and each phase has its
// own.
func TestDropsOnEgressOfTwoFamilies(t *testing.T) {
	t.Parallel()
	needs.Check(t, kernel.EgressHook.Lack())
	x := open(t, netnsenv.Config{
		Links:   []netnsenv.LinkConfig{{Prefixes: prefixes("198.18.0.1/24", "2001:db8::1/64")}, {Prefixes: prefixes("192.0.2.254/24", "2001:db8:1::1/64")}},
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"}, Silent: true,
		Rules: []netnsenv.Ruleset{netnsenv.NFT(`table netdev n { chain c { type filter hook egress device tun1 priority 0;
			udp dport 80 counter drop; meta protocol ip6 drop; }; }`)},
	})
	six := packet.Flow{Src: addrPort("[2001:db8::2]:5"), Dst: addrPort("[2001:db8:1::2]:53")}

	x.sendBy("tun0", web.UDP(nil), web.Nth(1).UDP(nil), six.UDP(nil))

	want := []string{
		"ipv4 postrouting, 2 of 2 lost: rule false 0", "ipv4 postrouting, 2 of 2 lost: rule false 0",
		"ipv6 postrouting, 1 of 1 lost: rule false 0", "ipv6 postrouting, 1 of 1 lost: rule false 0",
	}
	if diff := cmp.Diff(want, x.causes()); diff != "" {
		t.Errorf("(-want +got):\n%s\n%v", diff, x.path())
	}
	before := x.path()
	x.sendBy("tun0", six.UDP(nil), six.UDP(nil))
	if diff := cmp.Diff(map[nf.Family]uint64{nf.IPv6: 2}, x.path().Sub(before).EgressDropped); diff != "" {
		t.Errorf("second phase (-want +got):\n%s", diff)
	}
}

// Where no rule drops, nothing is lost on egress: packets to the host itself, segments that the kernel cuts later, fragments that it
// makes, a tunnel over a link, frames between ports of a bridge, what a qdisc drops.
func TestNothingIsLostOnEgressByItself(t *testing.T) {
	t.Parallel()
	needs.Check(t, kernel.EgressHook.Lack())
	cfg := router()
	cfg.Silent = false
	cfg.Links[1].MTU = 1280
	cfg.Links = append(cfg.Links, netnsenv.LinkConfig{Name: "p0", Port: netnsenv.Port{Of: "br0"}}, netnsenv.LinkConfig{Name: "p1", Port: netnsenv.Port{Of: "br0"}})
	cfg.Devices = []netnsenv.Device{
		{Name: "br0", Kind: netnsenv.Bridge{}, Prefixes: prefixes("203.0.113.1/24")},
		{Name: "vx", Kind: netnsenv.VXLAN{ID: 5, Remote: addrPort("192.0.2.9:1").Addr(), Local: addrPort("192.0.2.254:1").Addr()}, Prefixes: prefixes("10.9.0.1/24")},
	}
	cfg.Neighbours = []netnsenv.Neighbour{{Dev: "vx", Addr: addrPort("10.9.0.2:1").Addr(), MAC: nf.MAC{2, 0, 0, 0, 0, 9}}}
	cfg.Rules = []netnsenv.Ruleset{netnsenv.NFT(`table netdev n { chain c { type filter hook egress devices = { lo, tun0, tun1, br0, vx, p0, p1 } priority 0; counter; }; }`)}
	x := open(t, cfg)

	x.sendBy("tun0", forwarded(1400).With(packet.DontFragment(false)), web.UDP(nil), packet.Flow{Src: web.Src, Dst: addrPort("10.9.0.2:9")}.UDP([]byte("in a tunnel")))
	x.sendBy("p0", packet.Flow{Src: addrPort("203.0.113.7:1"), Dst: addrPort("203.0.113.8:1")}.UDP(nil), packet.Flow{Src: addrPort("203.0.113.7:1"), Dst: web.Dst}.UDP(nil))
	l, err := x.env.Listen(t.Context(), "tcp", "198.18.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := x.env.Dial(t.Context(), "tcp", "198.18.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const size = 1 << 20
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(make([]byte, size))
		sent <- err
	}()
	for n := 0; n < size; { // while packets pass, none looks lost
		got, err := s.Read(make([]byte, 64<<10))
		if err != nil && err != io.EOF || got == 0 {
			t.Fatalf("%d bytes, then %v", n, err)
		}
		n += got
		if dropped := x.path().EgressDropped; len(dropped) > 0 {
			t.Fatalf("lost: %v", dropped)
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}

	if p := x.path(); len(p.EgressDropped) > 0 || len(p.Losses()) > 0 {
		t.Errorf("lost: %v: %v", p.EgressDropped, p)
	}
}

// Where nothing counts, the path says what it does not know: only of rules that are there, and that may have dropped packets. The
// others cost no reading of rules.
func TestDropsThatNoProbeCounts(t *testing.T) {
	t.Parallel()
	const bridged = "not counted by any probe: what is dropped by nft bridge n c: "
	frame := packet.Flow{Src: addrPort("203.0.113.7:1"), Dst: addrPort("203.0.113.8:1")}.UDP(nil)
	for name, c := range map[string]struct {
		rules string
		want  []string
	}{
		"none":                     {"table bridge n { }", nil},
		"a bridge":                 {"table bridge n { chain c { type filter hook forward priority 0; drop; }; }", []string{bridged + "drop"}},
		"a bridge, counted":        {"table bridge n { chain c { type filter hook input priority 0; counter drop; }; }", []string{bridged + "counter drop [packets 2 bytes 56]"}},
		"a bridge, counted none":   {"table bridge n { chain c { type filter hook forward priority 0; ether type arp counter drop; }; }", nil},
		"a bridge that accepts":    {"table bridge n { chain c { type filter hook forward priority 0; counter accept; }; }", nil},
		"a bridge, by a jump":      {"table bridge n { chain c { drop; }; chain b { type filter hook prerouting priority 0; ether type ip jump c; }; }", []string{bridged + "drop"}},
		"egress of another device": {"table netdev n { chain c { type filter hook egress device far.1 priority 0; drop; }; }", []string{"not counted by any probe: what is dropped by nft netdev n c: drop"}},
		"egress of several":        {"table netdev n { chain c { type filter hook egress devices = { tun0, far.1 } priority 0; drop; }; }", []string{"not counted by any probe: what is dropped by nft netdev n c: drop"}},
		"egress of the links":      {"table netdev n { chain c { type filter hook egress devices = { tun0, tun1 } priority 0; drop; }; }", nil},
		"egress, first of all":     {"table netdev n { chain c { type filter hook egress device tun1 priority -2147483648; drop; }; }", []string{"not counted by any probe: what is dropped by nft netdev n c: drop"}},
		"ingress":                  {"table netdev n { chain c { type filter hook ingress device tun1 priority 0; drop; }; }", nil},
		"IP":                       {"table inet n { chain c { type filter hook input priority 0; drop; }; }", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if strings.Contains(name, "egress") {
				needs.Check(t, kernel.EgressHook.Lack())
			}
			cfg := router()
			cfg.Links[1].Kind = netnsenv.Veth
			cfg.Links = append(cfg.Links, netnsenv.LinkConfig{Name: "p0", Port: netnsenv.Port{Of: "br0"}}, netnsenv.LinkConfig{Name: "p1", Port: netnsenv.Port{Of: "br0"}})
			cfg.Devices = []netnsenv.Device{{Name: "br0", Kind: netnsenv.Bridge{}, Prefixes: prefixes("203.0.113.1/24")}}
			cfg.Rules = []netnsenv.Ruleset{netnsenv.MissingLinks(netnsenv.NFT(c.rules), "far.1")}
			x := open(t, cfg)

			x.sendBy("p0", frame, frame)

			p := x.path()
			if diff := cmp.Diff(c.want, p.Notes()); diff != "" {
				t.Errorf("(-want +got):\n%s\n%v", diff, p)
			}
			if drawn := strings.Count(p.String(), "what is dropped by"); drawn != len(c.want) {
				t.Errorf("%d lines:\n%v", drawn, p)
			}
			quick, err := x.o.PathCounts(t.Context())
			if err != nil || quick.Uncounted != nil {
				t.Errorf("without the rules: %v, %v", quick.Uncounted, err)
			}
		})
	}
}

// What filters of tc drop is counted by nothing, and the path says that there are some.
func TestPathNamesFiltersOfTC(t *testing.T) {
	t.Parallel()
	x := open(t, router())
	script := "tc qdisc add dev tun1 clsact && tc filter add dev tun1 egress protocol ip u32 match u32 0 0 action mirred egress redirect dev lo"
	if out, err := x.env.Command(t.Context(), "sh", "-c", script).CombinedOutput(); err != nil {
		needs.Check(t, &nf.UnsupportedError{Need: "tc ingress", Hint: "tc, and a kernel with NET_SCH_INGRESS, NET_CLS_U32 and NET_ACT_MIRRED", Err: fmt.Errorf("%w: %s", err, out)})
	}

	x.sendBy("tun0", web.UDP(nil), web.Nth(1).UDP(nil))

	p := x.path()
	want := []string{"not counted by any probe: what is dropped by filters of tc (u32) at egress of tun1"}
	if diff := cmp.Diff(want, p.Notes()); diff != "" || len(p.Losses()) > 0 {
		t.Errorf("%v (-want +got):\n%s", p, diff)
	}
	if quick, err := x.o.PathCounts(t.Context()); err != nil || quick.Filters != nil {
		t.Errorf("without the rules: %v, %v", quick.Filters, err)
	}
}
