package netnsenv_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// A packet leaves by the default route with the lowest metric, unless a rule selects another table, and to the neighbour's address.
func TestRoutesRulesAndNeighboursDecideWherePacketsLeave(t *testing.T) {
	t.Parallel()
	addr := netip.MustParseAddr
	router := nf.MAC{0, 0, 0x5e, 0, 0x53, 0x99}
	env := open(t, netnsenv.Config{
		Links: []netnsenv.LinkConfig{
			{Name: "in", Kind: netnsenv.Veth, Prefixes: prefixes("10.0.0.1/24", "2001:db8::1/64"), Routes: prefixes("172.16.0.0/12")},
			{Name: "cheap", Kind: netnsenv.Veth, Prefixes: prefixes("10.0.1.1/24", "2001:db8:1::1/64")},
			{Name: "dear", Kind: netnsenv.Veth, Prefixes: prefixes("10.0.2.1/24", "2001:db8:2::1/64")},
		},
		Neighbours: []netnsenv.Neighbour{{Dev: "cheap", Addr: addr("10.0.1.2"), MAC: router}},
		Routes: []netnsenv.Route{
			{Via: addr("10.0.2.2"), Metric: 200}, {Via: addr("10.0.1.2"), Dev: "cheap", Metric: 100},
			{Via: addr("2001:db8:2::2"), Metric: 200}, {Via: addr("2001:db8:1::2"), Metric: 100},
			{Via: addr("10.0.2.2"), Table: 7}, {Via: addr("2001:db8:2::2"), Table: 7},
			{To: netip.MustParsePrefix("203.0.113.0/24"), Type: netnsenv.Blackhole},
			{To: netip.MustParsePrefix("198.51.100.0/24"), Type: netnsenv.Local, Dev: "lo"},
		},
		RoutingRules: []netnsenv.RoutingRule{
			{Priority: 100, From: netip.MustParsePrefix("172.16.0.0/16"), Table: 7},
			{Priority: 110, Mark: 5, Mask: 0xf, In: "in", Table: 7},
			{Priority: 120, To: netip.MustParsePrefix("192.0.2.128/25"), Type: netnsenv.Blackhole},
		},
		Rules: []netnsenv.Ruleset{netnsenv.NFT(`table inet t { chain c {
			type filter hook prerouting priority mangle
			udp dport 5 meta mark set 0x15
		}
		}`)},
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"},
	})
	got := map[string]string{}
	for _, way := range []string{
		"10.0.0.9:1 > 8.8.8.8:1", "172.16.0.9:1 > 8.8.8.8:1", "172.17.0.9:1 > 8.8.8.8:1", "10.0.0.9:1 > 8.8.8.8:5",
		"10.0.0.9:1 > 203.0.113.1:1", "10.0.0.9:1 > 192.0.2.1:1", "10.0.0.9:1 > 192.0.2.129:1", "10.0.0.9:1 > 198.51.100.1:1",
		"[2001:db8::9]:1 > [2001:db8:9::1]:1", "[2001:db8::9]:1 > [2001:db8:9::1]:5",
	} {
		src, dst, _ := strings.Cut(way, " > ")
		flow := packet.Flow{Src: addrPort(src), Dst: addrPort(dst)}
		if _, err := inject.New(env.Link("in")).Send(t.Context(), packet.Packets(flow.UDP([]byte("x")))); err != nil {
			t.Fatal(err)
		}
		got[way] = leftBy(t, env)
	}
	want := map[string]string{
		"10.0.0.9:1 > 8.8.8.8:1": "cheap", "172.16.0.9:1 > 8.8.8.8:1": "dear", "172.17.0.9:1 > 8.8.8.8:1": "cheap", "10.0.0.9:1 > 8.8.8.8:5": "dear",
		"10.0.0.9:1 > 203.0.113.1:1": "", "10.0.0.9:1 > 192.0.2.1:1": "cheap", "10.0.0.9:1 > 192.0.2.129:1": "",
		"10.0.0.9:1 > 198.51.100.1:1":         "in", // where the host's ICMP error goes
		"[2001:db8::9]:1 > [2001:db8:9::1]:1": "cheap", "[2001:db8::9]:1 > [2001:db8:9::1]:5": "dear",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("where they left (-want +got):\n%s", diff)
	}

	send(t, env, packet.Flow{Src: addrPort("10.0.0.9:1"), Dst: addrPort("8.8.8.8:1")}.UDP(nil))
	f := readFrame(t, env.Link("cheap"))
	if to := nf.MAC(f[:6]); to != router {
		t.Errorf("sent to %v, want the neighbour %v", to, router)
	}
}

// leftBy returns the links by which packets have left, and reads these.
func leftBy(t testing.TB, env *netnsenv.Env) string {
	t.Helper()
	var names []string
	b := make([]byte, 2000)
	for _, l := range env.Links() {
		for {
			_, err := l.ReadNow(b)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			names = append(names, l.Name())
		}
	}
	return strings.Join(names, " ")
}

// What the kernel refuses is an error that names the device, the route, the rule or the neighbour.
func TestRefusedRoutingIsAnErrorThatNamesIt(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]netnsenv.Config{
		`netnsenv: route 10.0.0.0/8 via 203.0.113.1: netlink receive: network is unreachable`: {
			Links: []netnsenv.LinkConfig{{Routes: []netip.Prefix{}}}, Routes: []netnsenv.Route{{To: netip.MustParsePrefix("10.0.0.0/8"), Via: netip.MustParseAddr("203.0.113.1")}},
		},
		`netnsenv: routing rule 0: ipv4: netlink receive: `: {
			RoutingRules: []netnsenv.RoutingRule{{In: strings.Repeat("x", 40), Table: 9}},
		},
		`netnsenv: neighbour 2001:db8::9 on "eth0": netlink receive: `: {
			Links:      []netnsenv.LinkConfig{{Name: "eth0", MTU: 1200}},
			Neighbours: []netnsenv.Neighbour{{Dev: "eth0", Addr: netip.MustParseAddr("2001:db8::9")}},
		},
		`netnsenv: device "d" (macvlan): create it: netlink receive: `: {
			Links: []netnsenv.LinkConfig{{Name: "eth0"}},
			Devices: []netnsenv.Device{
				{Name: "c", Kind: netnsenv.Macvlan{Parent: "eth0", Mode: netnsenv.MacvlanPassthru}},
				{Name: "d", Kind: netnsenv.Macvlan{Parent: "eth0"}},
			},
		},
	} {
		env, err := netnsenv.Open(t.Context(), cfg)
		if err == nil {
			env.Close()
		}
		if got := fmt.Sprint(err); !strings.HasPrefix(got, want) || errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("got  %s\nwant %s…", got, want)
		}
	}
}
