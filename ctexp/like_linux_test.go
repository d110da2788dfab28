package ctexp_test

import (
	"fmt"
	"net/netip"
	"os/exec"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// byHand makes a router of a namespace with two links, by the commands that an administrator would use.
const byHand = `
ip addr add 192.0.2.1/24 dev wan
ip addr add 10.0.0.1/24 dev lan
ip addr add 203.0.113.9/32 dev lo
ip link set wan mtu 1400
ip route add default via 192.0.2.254
ip route add 10.6.0.0/16 via 10.0.0.6
ip route add blackhole 10.66.0.0/16
ip route add unreachable default table 100
ip rule add fwmark 5 lookup 100 priority 50
ip rule add from 10.0.0.77 lookup main suppress_prefixlength 0 priority 60
ip rule add from 10.0.0.77 unreachable priority 61
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.wan.rp_filter=1 net.netfilter.nf_conntrack_tcp_loose=0
nft -f - <<'EOF'
table ip nat {
	map inside { type inet_service : ipv4_addr; elements = { 80 : 10.0.0.80 }; }
	chain prerouting { type nat hook prerouting priority dstnat; iifname "wan" ip daddr 192.0.2.1 dnat to tcp dport map @inside; }
	chain postrouting { type nat hook postrouting priority srcnat; oifname "wan" masquerade; }
}
table inet filter {
	set blocked { type ipv4_addr; flags interval; elements = { 198.51.100.0/24 }; }
	chain marks { type filter hook prerouting priority mangle; ip dscp cs1 meta mark set 5; }
	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state invalid drop
		ct state established,related accept
		ip saddr @blocked drop
		iifname "lan" tcp dport 25 reject with tcp reset
		iifname { "lan", "vpn*" } accept
		ct status dnat accept
	}
	chain input { type filter hook input priority filter; policy drop; tcp dport 22 accept; }
}
EOF
`

// packetsByHand are packets for the router, the link by which they come, and what becomes of them without ICMP errors.
var packetsByHand = []struct{ link, line, want string }{
	{"lan", "tcp 10.0.0.2:1000 > 198.18.0.7:443 S", "accept, wan IP 192.0.2.1.1000 > 198.18.0.7.443: Flags [S], seq 1, win 65535, length 0"},
	{"lan", "tcp 10.0.0.2:1000 > 198.18.0.7:25 S", "reject, lan IP 198.18.0.7.25 > 10.0.0.2.1000: Flags [R.], seq 0, ack 2, win 0, length 0"},
	{"wan", "tcp 198.18.0.7:1000 > 192.0.2.1:80 S", "accept, lan IP 198.18.0.7.1000 > 10.0.0.80.80: Flags [S], seq 1, win 65535, length 0"},
	{"wan", "tcp 198.51.100.9:1000 > 192.0.2.1:80 S", "drop"},
	{"wan", "tcp 10.0.0.9:1000 > 192.0.2.1:22 S", "lost"},                                                     // rp_filter
	{"lan", "tcp 10.0.0.2:1001 > 198.18.0.7:443 .", "drop"},                                                   // tcp_loose
	{"lan", "udp 10.0.0.2:1002 > 10.66.1.1:53", "lost"},                                                       // the blackhole
	{"lan", "tcp 10.6.1.1:1003 > 203.0.113.9:23 S", "drop"},                                                   // the address of lo
	{"lan", "udp 10.0.0.2:1004 > 198.18.0.7:53 length 1399 df", "lost"},                                       // the MTU
	{"lan", "udp 10.0.0.77:1005 > 10.6.0.1:53", "accept, lan IP 10.0.0.77.1005 > 10.6.0.1.53: UDP, length 0"}, // the rule without the default route
	{"lan", "udp 10.0.0.77:1005 > 198.18.0.7:53", "lost"},                                                     // and the one behind it
	{"lan", "udp 10.0.0.2:1006 > 198.18.0.7:53 tos 32", "lost"},                                               // the rule by mark
}

// A copy of a namespace does with each packet what the namespace does.
func TestLikenessHasTheFatesOfTheOriginal(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"ip", "nft", "sysctl"} {
		if _, err := exec.LookPath(program); err != nil {
			needs.Check(t, &nf.UnsupportedError{Need: program, Hint: "install nftables, iproute2 and procps", Err: err})
		}
	}
	none := []netip.Prefix{}
	original := ctexp.New(t, netnsenv.Config{
		Links: []netnsenv.LinkConfig{{Name: "wan", Prefixes: none, Routes: none}, {Name: "lan", Prefixes: none, Routes: none}}, Trace: true,
	})
	said, err := original.Lab.Env.Command(t.Context(), "sh", "-ec", byHand).CombinedOutput()
	if err != nil {
		t.Fatalf("make the router: %v: %s", err, said)
	}

	likeness, err := netnsenv.Like(t.Context(), original.Lab.Env.Path())
	needs.Check(t, err)
	for _, n := range likeness.NotCopied {
		if n.Part != netnsenv.PartEntries {
			t.Errorf("not copied: %v", n)
		}
	}
	likeness.Config.Trace = true
	copied := ctexp.New(t, likeness.Config)

	was, got := fates(t, original.Lab), fates(t, copied.Lab)

	if diff := ctexp.Diff(was, got); diff != "" {
		t.Errorf("fates (-original +copy):\n%s", diff)
	}
	var expected []string
	for _, p := range packetsByHand {
		expected = append(expected, p.line+": "+p.want)
	}
	if diff := ctexp.Diff(expected, was); diff != "" {
		t.Errorf("fates in the original (-want +got):\n%s", diff)
	}
}

// fates returns what becomes of packetsByHand.
func fates(t *testing.T, lab *ctexp.Lab) (all []string) {
	t.Helper()
	var trials []ctexp.Trial
	for _, p := range packetsByHand {
		trials = append(trials, ctexp.Trial{Link: p.link, Packet: packet.MustParse(p.line)})
	}
	outcomes, err := lab.Try(t.Context(), trials...)
	needs.Check(t, err)
	for i, o := range outcomes {
		s := fmt.Sprintf("%s: %v", packetsByHand[i].line, o.Verdict())
		for _, out := range o.Out {
			if out.Packet.Tuple().Proto == nf.ICMP { // of which the kernel sends so many in a second
				continue
			}
			s += fmt.Sprintf(", %s %v", out.Link, out.Packet)
		}
		all = append(all, s)
	}
	return all
}
