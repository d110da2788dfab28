package redtest_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"slices"
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
	return fmt.Sprintf("table inet %s%d { chain c { type filter hook %s priority %d; %s; }; }\n", hook, priority+400, hook, priority, rule)
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

var blameSeed = flag.Uint64("blame-seed", 0, "repeat one try of TestBlameIsNeverFalse")

// Whatever is lost on one path by several causes at once, a cause that is said for certain explains at most as many packets as it
// took, every packet that was lost is in a loss, every cause is named, and the fates have it. CTEXP_TRIES is the number of tries, -blame-seed repeats one.
func TestBlameIsNeverFalse(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"nft", "ip", "iptables-legacy", "iptables-nft"} {
		if _, err := exec.LookPath(program); err != nil {
			needs.Check(t, &nf.UnsupportedError{Need: program, Hint: "install nftables, iptables and iproute2", Err: err})
		}
	}
	tries := 40
	if n, err := strconv.Atoi(os.Getenv("CTEXP_TRIES")); err == nil {
		tries = n
	}
	if *blameSeed != 0 {
		blame(t, *blameSeed)
		return
	}
	for range tries {
		seed := rand.Uint64()
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			blame(t, seed)
		})
	}
}

// blame draws hazards and how many packets meet each of them, none of some, and judges the losses.
func blame(t *testing.T, seed uint64) {
	t.Helper()
	dice := rand.New(rand.NewPCG(seed, 0))
	var drawn []hazard
	var packets []packet.Packet
	sent, truth := map[string]int{}, map[string]hazard{}
	for _, i := range dice.Perm(len(hazards))[:1+dice.IntN(6)] {
		h := hazards[i]
		if strings.Contains(h.rules, "hook egress") && !kernel.EgressHook.Here() {
			continue
		}
		drawn = append(drawn, h)
		sent[h.name] = dice.IntN(4)
		for range sent[h.name] {
			p := h.lost(len(packets))
			truth[string(p)] = h
			packets = append(packets, p)
		}
		for range dice.IntN(3) {
			if h.beside != nil {
				packets = append(packets, h.beside(len(packets)))
			}
		}
	}
	for range 1 + dice.IntN(3) { // that are not lost
		packets = append(packets, dport(9)(len(packets)))
	}
	dice.Shuffle(len(packets), func(i, j int) { packets[i], packets[j] = packets[j], packets[i] })
	x := ctexp.New(t, hazardous(drawn, dice.IntN(4) == 0))
	for _, h := range drawn {
		if h.shell != "" {
			shell(h.shell)(t, x)
		}
	}
	x.Inject(packet.Packets(packets...))

	path := x.Path()
	for _, wrong := range append(misjudged(path, drawn, sent), misfated(x.Fates(), truth)...) {
		t.Errorf("%s\nlost by each: %v\n%v\nagain: -blame-seed %d", wrong, sent, path, seed)
	}
}

// hazardous is a router with the rules of hazards.
func hazardous(drawn []hazard, trace bool) netnsenv.Config {
	prefixes := func(four, six string) []netip.Prefix {
		return []netip.Prefix{netip.MustParsePrefix(four), netip.MustParsePrefix(six)}
	}
	cfg := netnsenv.Config{
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"}, Trace: trace,
		Links: []netnsenv.LinkConfig{{Prefixes: prefixes("198.18.0.1/24", "2001:db8:1::1/64")}, {Prefixes: prefixes("192.0.2.1/24", "2001:db8:2::1/64")}},
	}
	for _, h := range drawn {
		if h.rules != "" {
			cfg.Rules = append(cfg.Rules, netnsenv.NFT(h.rules))
		}
	}
	return cfg
}

// misjudged says what is wrong about a path on which each hazard took that many packets.
func misjudged(path observe.Path, drawn []hazard, took map[string]int) (wrong []string) {
	lost, all := 0, 0
	named := map[string]bool{}
	for _, l := range path.Losses() {
		if l.Unconfirmed {
			continue
		}
		lost += int(l.Lost)
		for _, c := range l.Causes {
			most := 0
			for _, h := range drawn {
				if h.is(c) {
					named[h.name] = true
					most += took[h.name]
				}
			}
			if n := int(min(c.Packets, l.Lost)); c.Certain && n > most {
				wrong = append(wrong, fmt.Sprintf("%s: %v: %d for certain, in fact %d", l.Between(), c, n, most))
			}
		}
	}
	for _, h := range drawn {
		all += took[h.name]
		if took[h.name] > 0 && !named[h.name] {
			wrong = append(wrong, h.name+" is not named")
		}
	}
	if lost != all {
		wrong = append(wrong, fmt.Sprintf("%d are lost, in fact %d", lost, all))
	}
	return wrong
}

// is reports whether a cause is that of the hazard.
func (h hazard) is(c observe.Cause) bool {
	return h.kind == c.Kind && (h.kind != observe.CauseRule || strings.Contains(c.Rule.Text, h.rule))
}

// misfated says what is wrong about the fates of packets of which some are lost by a hazard.
func misfated(fates []ctexp.Fate, truth map[string]hazard) (wrong []string) {
	for _, f := range fates {
		if f.Frame.Dir != packet.In {
			continue
		}
		h, isLost := truth[string(f.Frame.Packet)]
		switch {
		case f.Lost && !isLost:
			wrong = append(wrong, fmt.Sprintf("%v: %v, in fact it went on", f.Frame, f))
		case f.Lost && len(f.Causes) > 0 && !slices.ContainsFunc(f.Causes, h.is):
			wrong = append(wrong, fmt.Sprintf("%v: %v, in fact it was %s", f.Frame, f, h.name))
		case f.Held:
			wrong = append(wrong, fmt.Sprintf("%v: held", f.Frame))
		}
	}
	return wrong
}
