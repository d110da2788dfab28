package redtest_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/kernel"
	"github.com/ctexp/go-ctexp/internal/needs"
)

// hazard is one way in which a router loses packets, of which the cause is known.
type hazard struct {
	name  string
	rules string                    // of nftables
	shell string                    // what else makes it
	lost  func(n int) packet.Packet // a packet that is lost by it and by no other; n differs
	kind  observe.CauseKind         // what the loss must name
	rule  string                    // part of the text of a rule that it must name
	// beside is a packet that it lets through; nil for none.
	beside func(n int) packet.Packet
}

// inChain is a table with a base chain of one rule.
func inChain(hook string, priority int, rule string) string {
	return fmt.Sprintf("table inet %s%d { chain c { type filter hook %s priority %d; %s; }; }\n", hook, uint32(priority+1000), hook, priority, rule)
}

// line makes packets from a text with the source port left out.
func line(format string) func(int) packet.Packet {
	return func(n int) packet.Packet { return packet.MustParse(fmt.Sprintf(format, 20000+n)) }
}

// dport makes packets that are forwarded to a port.
func dport(port int) func(int) packet.Packet {
	return line("udp 198.18.0.2:%d > 192.0.2.2:" + strconv.Itoa(port))
}

// either makes packets of both families.
func either(port int) func(int) packet.Packet {
	six := line("udp [2001:db8:1::2]:%d > [2001:db8:2::2]:" + strconv.Itoa(port))
	return func(n int) packet.Packet {
		if n%2 == 0 {
			return dport(port)(n)
		}
		return six(n)
	}
}

// with changes packets.
func with(make func(int) packet.Packet, c packet.Change) func(int) packet.Packet {
	return func(n int) packet.Packet { return make(n).With(c) }
}

// hazards are those of a router between 198.18.0.0/24 and 192.0.2.0/24. None takes packets of another.
var hazards = []hazard{
	{"counted", inChain("forward", 0, "udp dport 1001 counter drop"), "", dport(1001), observe.CauseRule, "1001", nil},
	{"uncounted", inChain("forward", 10, "udp dport 1002 drop"), "", dport(1002), observe.CauseRule, "1002", nil},
	{"prerouting", inChain("prerouting", -150, "udp dport 1003 counter drop"), "", dport(1003), observe.CauseRule, "1003", nil},
	{"raw", inChain("prerouting", -300, "udp dport 1004 counter drop"), "", dport(1004), observe.CauseRule, "1004", nil},
	{"raw uncounted", inChain("prerouting", -301, "udp dport 1005 drop"), "", dport(1005), observe.CauseRule, "1005", nil},
	{"postrouting", inChain("postrouting", 5, "udp dport 1006 counter drop"), "", dport(1006), observe.CauseRule, "1006", nil},
	{"postrouting uncounted", inChain("postrouting", 6, "udp dport 1007 drop"), "", dport(1007), observe.CauseRule, "1007", nil},
	{"invalid", inChain("forward", -5, "ct state invalid tcp dport 80 counter drop"), "", line("tcp 198.18.0.2:%d > 192.0.2.2:80 SR"), observe.CauseRule, "dport 80", nil},
	{"reject", inChain("forward", 20, "udp dport 1008 counter reject"), "", dport(1008), observe.CauseRule, "1008", nil},
	{"policy six", "table ip6 p { chain c { type filter hook forward priority 45; policy drop; }; }\n", "", line("udp [2001:db8:1::2]:%d > [2001:db8:2::2]:80"), observe.CauseRule, "", nil},
	{"ttl", "", "", line("udp 198.18.0.2:%d > 192.0.2.2:80 ttl 1"), observe.CauseHopLimit, "", nil},
	{"no route", "", "", line("udp 198.18.0.2:%d > 203.0.113.9:80"), observe.CauseNoRoute, "", nil},
	{"blackhole", "", "ip route add blackhole 192.0.2.66/32", line("udp 198.18.0.2:%d > 192.0.2.66:80"), observe.CauseRefusingRoute, "", nil},
	{"unreachable", "", "ip route add unreachable 192.0.2.67/32", line("udp 198.18.0.2:%d > 192.0.2.67:80"), observe.CauseRefusingRoute, "", nil},
	{"prohibit", "", "ip route add prohibit 192.0.2.68/32", line("udp 198.18.0.2:%d > 192.0.2.68:80"), observe.CauseRefusingRoute, "", nil},
	{"martian", "", "", line("udp 127.0.0.1:%d > 192.0.2.2:80"), observe.CauseMartian, "", nil},
	{"rp_filter", "", "echo 1 > /proc/sys/net/ipv4/conf/tun0/rp_filter", line("udp 192.0.2.77:%d > 192.0.2.2:80"), observe.CauseReversePath, "", nil},
	{"checksum", "", "", with(dport(80), packet.HeaderChecksum(1)), observe.CauseHeaderChecksum, "", nil},
	{"ihl", "", "", with(dport(80), packet.IHL(4)), observe.CauseMalformedHeader, "", nil},
	{"ingress", "table netdev i { chain c { type filter hook ingress device tun0 priority 0; udp dport 1009 counter drop; }; }\n", "", dport(1009), observe.CauseRule, "1009", nil},
	{"ingress uncounted", "table netdev u { chain c { type filter hook ingress device tun0 priority 1; udp dport 1027 drop; }; }\n", "", dport(1027), observe.CauseRule, "1027", nil},
	{"early forward", inChain("forward", -300, "udp dport 1028 counter drop"), "", dport(1028), observe.CauseRule, "1028", nil},
	{"early forward, uncounted", inChain("forward", -301, "udp dport 1029 drop"), "", dport(1029), observe.CauseRule, "1029", nil},
	{"early input", inChain("input", -300, "udp dport 1030 counter drop"), "", line("udp 198.18.0.2:%d > 198.18.0.1:1030"), observe.CauseRule, "1030", nil},
	{"early input, uncounted", inChain("input", -301, "udp dport 1031 drop"), "", line("udp 198.18.0.2:%d > 198.18.0.1:1031"), observe.CauseRule, "1031", nil},
	{"early postrouting", inChain("postrouting", -300, "udp dport 1032 counter drop"), "", dport(1032), observe.CauseRule, "1032", nil},
	{"early postrouting, uncounted", inChain("postrouting", -301, "udp dport 1033 drop"), "", dport(1033), observe.CauseRule, "1033", nil},
	{"early prerouting", inChain("prerouting", -500, "udp dport 1034 counter drop"), "", dport(1034), observe.CauseRule, "1034", nil},
	{"early prerouting, uncounted", inChain("prerouting", -501, "udp dport 1035 drop"), "", dport(1035), observe.CauseRule, "1035", nil},
	{"late prerouting", inChain("prerouting", 2000, "udp dport 1036 drop"), "", dport(1036), observe.CauseRule, "1036", nil},
	{"late forward", inChain("forward", 2147483647, "udp dport 1037 drop"), "", dport(1037), observe.CauseRule, "1037", nil},
	{"late input", inChain("input", 2147483647, "udp dport 1038 counter drop"), "", line("udp 198.18.0.2:%d > 198.18.0.1:1038"), observe.CauseRule, "1038", nil},
	{"late postrouting", inChain("postrouting", 2147483647, "udp dport 1039 drop"), "", dport(1039), observe.CauseRule, "1039", nil},
	{"egress", "table netdev e { chain c { type filter hook egress device tun1 priority 0; udp dport 1010 counter drop; }; }\n", "", dport(1010), observe.CauseRule, "1010", nil},
	{"hop limit six", "", "", line("udp [2001:db8:1::2]:%d > [2001:db8:2::2]:81 ttl 1"), observe.CauseHopLimit, "", nil},
	{"no route six", "", "", line("udp [2001:db8:1::2]:%d > [2001:db8:9::2]:81"), observe.CauseNoRoute, "", nil},
	{"blackhole six", "", "ip -6 route add blackhole 2001:db8:2::66/128", line("udp [2001:db8:1::2]:%d > [2001:db8:2::66]:81"), observe.CauseRefusingRoute, "", nil},
	{"prohibit six", "", "ip -6 route add prohibit 2001:db8:2::67/128", line("udp [2001:db8:1::2]:%d > [2001:db8:2::67]:81"), observe.CauseNoRoute, "", nil},
	{"rule of routing", "", "ip rule add to 192.0.2.69 prohibit", line("udp 198.18.0.2:%d > 192.0.2.69:81"), observe.CauseRefusingRoute, "", nil},
	{"too big", "", "ip link set tun1 mtu 1280", with(line("udp 198.18.0.2:%d > 192.0.2.2:82 length 1300"), packet.DontFragment(true)), observe.CauseTooBig, "", nil},
	{"too big six", "", "ip link set tun1 mtu 1280", line("udp [2001:db8:1::2]:%d > [2001:db8:2::2]:82 length 1300"), observe.CauseTooBig, "", nil},
	{"both families", inChain("forward", 40, "udp dport 1013 drop"), "", either(1013), observe.CauseRule, "1013", nil},
	{"both families, counted", inChain("forward", 41, "udp dport 1014 counter drop"), "", either(1014), observe.CauseRule, "1014", nil},
	{"set", inChain("forward", 42, "udp dport { 1015, 1115 } counter drop"), "", dport(1015), observe.CauseRule, "1015", nil},
	{"jump", "table ip j { chain b { udp dport 1016 counter drop; }; chain i { type filter hook input priority 7; jump b; }; chain f { type filter hook forward priority 7; jump b; }; }\n", "", dport(1016), observe.CauseRule, "1016", nil},
	{"jump, input", "table ip k { chain b { udp dport 1017 counter drop; }; chain i { type filter hook input priority 8; jump b; }; chain f { type filter hook forward priority 8; jump b; }; }\n", "", line("udp 198.18.0.2:%d > 198.18.0.1:1017"), observe.CauseRule, "1017", nil},
	{"iptables", "", "iptables-legacy -A FORWARD -p udp --dport 1018 -j DROP", dport(1018), observe.CauseRule, "1018", nil},
	{"iptables-nft", "", "iptables-nft -t mangle -A PREROUTING -p udp --dport 1019 -j DROP", dport(1019), observe.CauseRule, "1019", nil},
	{"verdict map", inChain("forward", 43, "udp dport vmap { 1020 : drop, 1021 : accept }"), "", dport(1020), observe.CauseRule, "1020", nil},
	{"checksum of UDP", "", "", with(line("udp 198.18.0.2:%d > 198.18.0.1:83"), packet.Checksum(1)), observe.CauseChecksum, "", nil},
	{"input", inChain("input", 1, "udp dport 1011 counter drop"), "", line("udp 198.18.0.2:%d > 198.18.0.1:1011"), observe.CauseRule, "1011", nil},
	{"input uncounted", inChain("input", 2, "udp dport 1012 drop"), "", line("udp 198.18.0.2:%d > 198.18.0.1:1012"), observe.CauseRule, "1012", nil},
	{"of a known flow", inChain("forward", 44, "udp dport 1022 meta length 78 counter drop"), "", line("udp 198.18.0.2:7 > 192.0.2.2:1022 length 50 id %d"), observe.CauseRule, "1022", line("udp 198.18.0.2:7 > 192.0.2.2:1022 id %d")},
	{"of a known flow, uncounted", inChain("postrouting", 45, "udp dport 1023 meta length 78 drop"), "", line("udp 198.18.0.2:7 > 192.0.2.2:1023 length 50 id %d"), observe.CauseRule, "1023", line("udp 198.18.0.2:7 > 192.0.2.2:1023 id %d")},
	{"untracked", inChain("prerouting", -299, "udp dport 1024 notrack") + inChain("forward", 46, "udp dport 1024 meta length 78 drop"), "", line("udp 198.18.0.2:%d > 192.0.2.2:1024 length 50"), observe.CauseRule, "1024", line("udp 198.18.0.2:%d > 192.0.2.2:1024")},
	{"invalid, last", inChain("postrouting", 47, "ct state invalid tcp dport 1025 drop"), "", line("tcp 198.18.0.2:%d > 192.0.2.2:1025 SR"), observe.CauseRule, "1025", line("tcp 198.18.0.2:%d > 192.0.2.2:1026 FR")},
}

// draw is some hazards, and packets of which some meet them.
type draw struct {
	seed    uint64
	dice    *rand.Rand
	hazards []hazard
	packets []packet.Packet
	lost    map[string]hazard // by packet, those that are lost
	took    map[string]int    // by the name of a hazard; none for some
}

// drawn draws up to six hazards, with up to three packets for each, and some packets that are not lost.
func drawn(seed uint64) *draw {
	d := &draw{seed: seed, dice: rand.New(rand.NewPCG(seed, 0)), lost: map[string]hazard{}, took: map[string]int{}}
	for _, i := range d.dice.Perm(len(hazards))[:1+d.dice.IntN(6)] {
		h := hazards[i]
		if strings.Contains(h.rules, "hook egress") && !kernel.EgressHook.Here() {
			continue
		}
		d.hazards = append(d.hazards, h)
		for range d.dice.IntN(4) {
			p := h.lost(len(d.packets))
			d.packets, d.lost[string(p)] = append(d.packets, p), h
			d.took[h.name]++
		}
		for range d.dice.IntN(3) {
			if h.beside != nil {
				d.packets = append(d.packets, h.beside(len(d.packets)))
			}
		}
	}
	for range 1 + d.dice.IntN(3) {
		d.packets = append(d.packets, dport(9)(len(d.packets)))
	}
	d.dice.Shuffle(len(d.packets), func(i, j int) { d.packets[i], d.packets[j] = d.packets[j], d.packets[i] })
	return d
}

// router is a new one with the hazards.
func (d *draw) router(t *testing.T, change func(*netnsenv.Config)) *ctexp.Experiment {
	t.Helper()
	prefixes := func(four, six string) []netip.Prefix {
		return []netip.Prefix{netip.MustParsePrefix(four), netip.MustParsePrefix(six)}
	}
	cfg := netnsenv.Config{
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1", "net.ipv4.icmp_ratemask": "0"},
		Links:   []netnsenv.LinkConfig{{Prefixes: prefixes("198.18.0.1/24", "2001:db8:1::1/64")}, {Prefixes: prefixes("192.0.2.1/24", "2001:db8:2::1/64")}},
	}
	for _, h := range d.hazards {
		if h.rules != "" {
			cfg.Rules = append(cfg.Rules, netnsenv.NFT(h.rules))
		}
	}
	change(&cfg)
	x := ctexp.New(t, cfg)
	for _, h := range d.hazards {
		if h.shell != "" {
			shell(h.shell)(t, x)
		}
	}
	return x
}

// trace traces some of the draws.
func (d *draw) trace(cfg *netnsenv.Config) { cfg.Trace = d.dice.IntN(4) == 0 }

// String says what to repeat.
func (d *draw) String() string {
	return fmt.Sprintf("lost by each: %v; again: -draw %d", d.took, d.seed)
}

var drawSeed = flag.Uint64("draw", 0, "repeat one draw of TestBlameIsNeverFalse and TestVerdictsAreTrue")

// forDraws runs a test with CTEXP_TRIES draws, by default 16, in parallel.
func forDraws(t *testing.T, test func(*testing.T, *draw)) {
	t.Helper()
	t.Parallel()
	for _, program := range []string{"nft", "ip", "iptables-legacy", "iptables-nft"} {
		if _, err := exec.LookPath(program); err != nil {
			needs.Check(t, &nf.UnsupportedError{Need: program, Hint: "install nftables, iptables and iproute2", Err: err})
		}
	}
	seeds := make([]uint64, 16)
	if n, err := strconv.Atoi(os.Getenv("CTEXP_TRIES")); err == nil {
		seeds = make([]uint64, n)
	}
	for i := range seeds {
		seeds[i] = rand.Uint64()
	}
	if *drawSeed != 0 {
		seeds = []uint64{*drawSeed}
	}
	for _, seed := range seeds {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			test(t, drawn(seed))
		})
	}
}
