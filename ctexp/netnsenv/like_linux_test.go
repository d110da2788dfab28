package netnsenv_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// byHand makes what namespaces of others have, beyond what a Config says by itself.
const byHand = `
ip link set eth0 address 02:11:22:33:44:55
ip addr add 192.0.2.1/24 dev eth0
ip addr add 10.8.0.1 peer 10.8.0.2 dev eth1
ip addr add 192.0.2.1/32 dev eth1
ip addr add 203.0.113.9/32 dev lo
ip link set eth2 down
ip link add br-0a1b2c3d4e5f type bridge
ip link set br-0a1b2c3d4e5f address 02:00:00:00:00:77
ip link set eth3 master br-0a1b2c3d4e5f
ip link set br-0a1b2c3d4e5f up
ip addr add 10.1.0.1/24 dev br-0a1b2c3d4e5f
ip route add default via 192.0.2.254 metric 7
ip route add 198.51.100.0/24 via 192.0.2.253 table 100
ip route add prohibit 198.51.101.0/24
ip route add 172.17.0.0/16 via 9.9.9.9 dev eth0 onlink
ip rule add fwmark 5/0xff lookup 100 priority 50
ip rule add not from 10.0.0.0/8 iif eth1 lookup 101 priority 51
ip rule add ipproto tcp dport 80 lookup 100 priority 52
ip neigh add 192.0.2.254 lladdr 02:00:00:00:00:01 dev eth0
ip neigh add proxy 192.0.2.99 dev eth0
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.eth0.rp_filter=1 net.netfilter.nf_conntrack_tcp_loose=0 net.ipv4.conf.all.accept_redirects=1
nft 'table inet t { chain c { type filter hook forward priority 0; policy drop; iifname "gone0" drop; meta skuid 0 accept; }; }'
iptables-nft -t nat -A POSTROUTING -o eth0 -m comment --comment "of iptables" -j MASQUERADE
nft 'table ip6 later { chain c { type filter hook input priority 0; }; }'
iptables-legacy -A INPUT -p tcp --dport 23 -j DROP
ipset create s hash:ip
ipset add s 10.1.0.66
iptables-nft -A FORWARD -m set --match-set s src -j DROP
`

// A namespace made by the commands of administrators is copied, without a change to it; what cannot be copied is told, and a copy of the
// copy is the same.
func TestLikeCopiesANamespaceMadeByHand(t *testing.T) {
	t.Parallel()
	needsPrograms(t)
	var links []netnsenv.LinkConfig
	for i := range 4 {
		links = append(links, netnsenv.LinkConfig{Name: fmt.Sprint("eth", i), Kind: netnsenv.Veth, Prefixes: []netip.Prefix{}, Routes: []netip.Prefix{}})
	}
	e := open(t, netnsenv.Config{Links: links})
	if said, err := e.Command(t.Context(), "sh", "-ec", byHand).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}

	state := func() string {
		said, err := e.Command(t.Context(), "sh", "-ec",
			"ip -4 addr; ip neigh show nud permanent; ip route show table all; ip rule; nft -s list ruleset; iptables-legacy-save | grep ^-A; ipset save; sysctl -a 2>/dev/null | grep ^net[.] | grep -v conntrack_count").Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(said)
	}
	before := state()

	l := like(t, e.Path())

	if diff := ctexp.Diff(strings.Split(before, "\n"), strings.Split(state(), "\n")); diff != "" {
		t.Errorf("Like has changed (-before +after):\n%s", diff)
	}
	want := `eth0 02:11:22:33:44:55 192.0.2.1/24
eth1 10.8.0.1/32
eth2 down
eth3 port of br-0a1b2c3d4e5f
br-0a1b2c3d4e5f bridge 02:00:00:00:00:77 10.1.0.1/24
local 203.0.113.9/32 dev lo src 203.0.113.9
prohibit 198.51.101.0/24
10.8.0.2/32 dev eth1 src 10.8.0.1
198.51.100.0/24 via 192.0.2.253 dev eth0 table 100
default via 192.0.2.254 dev eth0 metric 7
172.17.0.0/16 via 9.9.9.9 dev eth0 onlink
rule 50 mark 5/255 lookup 100
rule 51 not from 10.0.0.0/8 in eth1 lookup 101
192.0.2.254 is at 02:00:00:00:00:01 on eth0
net.ipv4.conf.all.forwarding=1
net.ipv4.conf.eth0.rp_filter=1
net.netfilter.nf_conntrack_tcp_loose=0
links in rules: [] [gone0] [eth0] [] [] []
not copied: address 192.0.2.1/32 on eth1: eth0 has it, too, and alone in the Env
not copied: routing rule 52 (ipv4): it is of a protocol
not copied: neighbour 192.0.2.99 on eth0: that the host answers for it (proxy)
`
	if diff := ctexp.Diff(strings.Split(want, "\n"), strings.Split(described(l), "\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	copied := open(t, l.Config)
	again := like(t, copied.Path())
	l.NotCopied = nil
	if diff := ctexp.Diff(strings.Split(described(l), "\n"), strings.Split(described(again), "\n")); diff != "" {
		t.Errorf("the copy of the copy (-copy +its copy):\n%s", diff)
	}
	rules := func(e *netnsenv.Env) string {
		said, err := e.Command(t.Context(), "sh", "-ec", "iptables-nft-save; ip6tables-nft-save; iptables-legacy-save; ipset save; nft -s list table inet t").Output()
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for l := range strings.Lines(string(said)) {
			if !strings.HasPrefix(l, "#") && !strings.HasPrefix(l, ":") { // dates and counters
				lines = append(lines, l)
			}
		}
		return strings.Join(lines, "")
	}
	if diff := ctexp.Diff(strings.Split(rules(e), "\n"), strings.Split(rules(copied), "\n")); diff != "" {
		t.Errorf("rules (-original +copy):\n%s", diff)
	}
}

// What a route says of packets beside its way, and what a bridge has not learned, is told, each by its own word.
func TestLikeTellsWhatRoutesAndBridgesSayBesides(t *testing.T) {
	t.Parallel()
	needsPrograms(t)
	e := open(t, netnsenv.Config{Links: []netnsenv.LinkConfig{
		{Name: "eth0", Kind: netnsenv.Veth, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}, Routes: []netip.Prefix{}},
		{Name: "eth1", Kind: netnsenv.Veth, Prefixes: []netip.Prefix{}, Routes: []netip.Prefix{}},
	}})
	if said, err := e.Command(t.Context(), "sh", "-ec", `
ip link add br0 type bridge
ip link set eth1 master br0
ip link set br0 up
ip route add 10.1.0.0/16 via 192.0.2.7 advmss 500 mtu 1300
ip route add 10.2.0.0/16 via 192.0.2.7 realm 5
ip route add 10.3.0.0/16 via 192.0.2.7 rto_min 30ms hoplimit 7
bridge fdb add 02:00:00:00:00:77 dev eth1 master static
`).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}

	var got []string
	for _, n := range like(t, e.Path()).NotCopied {
		if n.Part == netnsenv.PartRoute || n.Part == netnsenv.PartNeighbour {
			got = append(got, n.String())
		}
	}

	want := []string{
		"route 10.1.0.0/16 via 192.0.2.7 dev eth0: its MTU of 1300", "route 10.1.0.0/16 via 192.0.2.7 dev eth0: its advmss",
		"route 10.2.0.0/16 via 192.0.2.7 dev eth0: its realm of 5",
		"route 10.3.0.0/16 via 192.0.2.7 dev eth0: its hoplimit", "route 10.3.0.0/16 via 192.0.2.7 dev eth0: its rto_min",
		"neighbour: entries of the forwarding table of eth1 (1): an Env learns from packets alone",
	}
	if diff := ctexp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A device of each kind that an Env can have is copied as it is, with its ports. WireGuard is not, because its keys are secret.
func TestLikeCopiesEveryKindOfDevice(t *testing.T) {
	t.Parallel()
	prefix := netip.MustParsePrefix
	host := netip.MustParseAddr("192.0.2.1")
	for name, c := range map[string]struct {
		device netnsenv.Device
		port   netnsenv.Port
	}{
		"bridge": {netnsenv.Device{Kind: netnsenv.Bridge{}}, netnsenv.Port{Of: "d", Hairpin: true, Isolated: true}},
		"bridge with VLANs": {
			netnsenv.Device{Kind: netnsenv.Bridge{VLANFiltering: true, VLANs: []netnsenv.PortVLAN{{ID: 7}}}},
			netnsenv.Port{Of: "d", VLANs: []netnsenv.PortVLAN{{ID: 7}, {ID: 8, Tagged: true}}},
		},
		"vlan":          {device: netnsenv.Device{Kind: netnsenv.VLAN{Parent: "eth0", ID: 7}}},
		"vlan, 802.1ad": {device: netnsenv.Device{Kind: netnsenv.VLAN{Parent: "eth0", ID: 7, AD: true}}},
		"dummy":         {device: netnsenv.Device{Kind: netnsenv.Dummy{}}},
		"macvlan":       {device: netnsenv.Device{Kind: netnsenv.Macvlan{Parent: "eth0", Mode: netnsenv.MacvlanVEPA}}},
		"ipvlan":        {device: netnsenv.Device{Kind: netnsenv.IPvlan{Parent: "eth0", Mode: netnsenv.IPvlanL3S}}},
		"vxlan":         {device: netnsenv.Device{Kind: netnsenv.VXLAN{ID: 9, Parent: "eth0", Local: host, Remote: netip.MustParseAddr("192.0.2.9"), Port: 8472}}},
		"bond":          {netnsenv.Device{Kind: netnsenv.Bond{Mode: netnsenv.BondXOR}}, netnsenv.Port{Of: "d"}},
		"vrf":           {netnsenv.Device{Kind: netnsenv.VRF{Table: 9}}, netnsenv.Port{Of: "d"}},
		"down":          {device: netnsenv.Device{Kind: netnsenv.Bridge{}, Down: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := c.device
			d.Name = "d"
			if !d.Down {
				d.Prefixes = []netip.Prefix{prefix("198.18.9.1/24")}
			}
			d.ARP = true // needs no rules that write frames
			e, err := netnsenv.Open(t.Context(), netnsenv.Config{
				Links: []netnsenv.LinkConfig{
					{Name: "eth0", Kind: netnsenv.Veth, Prefixes: []netip.Prefix{prefix("192.0.2.1/24")}, Routes: []netip.Prefix{}},
					{Name: "eth1", Kind: netnsenv.Veth, Port: c.port, Prefixes: []netip.Prefix{}, Routes: []netip.Prefix{}},
				},
				Devices: []netnsenv.Device{d},
			})
			needs.Check(t, err)
			t.Cleanup(func() { _ = e.Close() })

			l := like(t, e.Path())

			got := l.Config.Devices
			for i := range got {
				got[i].HardwareAddr, got[i].MTU, got[i].ARP = nf.MAC{}, 0, true
			}
			if diff := ctexp.Diff([]netnsenv.Device{d}, got); diff != "" {
				t.Errorf("devices (-want +got):\n%s", diff)
			}
			for _, link := range l.Config.Links {
				if diff := ctexp.Diff(c.port, link.Port); link.Name == "eth1" && diff != "" {
					t.Errorf("port (-want +got):\n%s", diff)
				}
			}
			if len(l.Config.Routes) > 0 || slices.ContainsFunc(l.NotCopied, func(n netnsenv.NotCopied) bool { return n.Part != netnsenv.PartEntries }) {
				t.Errorf("routes %v, not copied %v; want none", l.Config.Routes, l.NotCopied)
			}
			for i := range l.Config.Devices {
				l.Config.Devices[i].ARP = true
			}
			open(t, l.Config)
		})
	}
}

func needsPrograms(t *testing.T) {
	t.Helper()
	for program, need := range map[string]string{
		"ip": "ip", "sysctl": "sysctl", "nft": "nft", "ipset": "ipset", "iptables-nft": "iptables-nft", "iptables-legacy": "iptables-legacy",
	} {
		if _, err := exec.LookPath(program); err != nil {
			needs.Check(t, &nf.UnsupportedError{Need: need, Hint: "install iproute2, procps, nftables, ipset and iptables", Err: err})
		}
	}
}

func like(t *testing.T, path string) netnsenv.Likeness {
	t.Helper()
	l, err := netnsenv.Like(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// described returns what a Likeness has, in lines. Addresses that the kernel has chosen are left out.
func described(l netnsenv.Likeness) string {
	var b strings.Builder
	line := func(name string, words ...any) {
		b.WriteString(name)
		for _, w := range words {
			if s := fmt.Sprint(w); s != "" {
				b.WriteString(" " + s)
			}
		}
		b.WriteByte('\n')
	}
	chosen := func(mac nf.MAC) string {
		if !slices.Contains([]string{"02:11:22:33:44:55", "02:00:00:00:00:77"}, mac.String()) {
			return ""
		}
		return mac.String()
	}
	port := func(p netnsenv.Port) string {
		if p.Of == "" {
			return ""
		}
		return "port of " + p.Of
	}
	prefixes := func(all []netip.Prefix) string { return strings.Trim(fmt.Sprint(all), "[]") }
	down := map[bool]string{true: "down"}
	for _, x := range l.Config.Links {
		line(x.Name, chosen(x.HardwareAddr), down[x.Down], port(x.Port), prefixes(x.Prefixes))
	}
	for _, x := range l.Config.Devices {
		line(x.Name, x.Kind, chosen(x.HardwareAddr), down[x.Down], port(x.Port), prefixes(x.Prefixes))
	}
	for _, x := range l.Config.Routes {
		line(x.String())
	}
	for _, x := range l.Config.RoutingRules {
		words := []any{x.Priority}
		if x.Not {
			words = append(words, "not")
		}
		if x.From.IsValid() {
			words = append(words, "from", x.From)
		}
		if x.In != "" {
			words = append(words, "in", x.In)
		}
		if x.Mark != 0 {
			words = append(words, fmt.Sprintf("mark %d/%d", x.Mark, x.Mask))
		}
		line("rule", append(words, "lookup", x.Table)...)
	}
	for _, x := range l.Config.Neighbours {
		line(x.Addr.String(), "is at", x.MAC, "on", x.Dev)
	}
	var sysctls []string
	for name, value := range l.Config.Sysctls {
		if strings.HasPrefix(name, "net.ipv4.conf.eth") || name == "net.ipv4.conf.all.forwarding" || strings.HasPrefix(name, "net.netfilter.") {
			sysctls = append(sysctls, name+"="+value)
		}
	}
	slices.Sort(sysctls)
	for _, s := range sysctls {
		line(s)
	}
	var names []any
	for _, r := range l.Config.Rules {
		names = append(names, netnsenv.LinksOf(r))
	}
	line("links in rules:", names...)
	for _, n := range l.NotCopied {
		if n.Part != netnsenv.PartEntries { // the host may have reported to a multicast group
			line("not copied:", n)
		}
	}
	return b.String()
}

// Of a namespace that may not be entered Like has the links, and says that the rules are missing, and what would help.
func TestLikeOfANamespaceOfOthers(t *testing.T) {
	t.Parallel()
	l, err := netnsenv.Like(t.Context(), fmt.Sprintf("/proc/%d/ns/net", os.Getppid()))
	if err != nil {
		t.Fatal(err)
	}
	closed := slices.IndexFunc(l.NotCopied, func(n netnsenv.NotCopied) bool { return n.Part == netnsenv.PartRules })
	if closed < 0 { // a root that needed no user namespace to enter its own
		needs.Check(t, &nf.UnsupportedError{Need: "user namespaces", Hint: "without, the process may enter the namespace that it was started in"})
	}
	if n := l.NotCopied[closed]; n.Need != "CAP_SYS_ADMIN over the namespace" || n.Hint == "" {
		t.Errorf("got %+v", n)
	}
	open(t, l.Config)
}

// What is no namespace is an error.
func TestLikeOfNothing(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/proc/self/ns/uts", "/dev/null", "/nothing"} {
		if l, err := netnsenv.Like(t.Context(), path); err == nil || !strings.HasPrefix(err.Error(), "netnsenv: like "+path+": ") {
			t.Errorf("%s: %v, %v", path, l, err)
		}
	}
}
