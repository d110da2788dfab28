package redtest_test

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
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
	name     string
	rules    string                    // of nftables
	shell    string                    // what else makes it
	onEgress bool                      // it needs the hook egress
	lost     func(n int) packet.Packet // a packet that is lost by it and by no other; n differs
	beside   func(n int) packet.Packet // a packet that it lets through, of the same class; nil for none

	kind    observe.CauseKind // what the loss must name; empty: a rule
	rule    string            // part of the text of a rule that it must name
	verdict ctexp.Verdict     // VerdictAccept: VerdictDrop if it is a rule, else VerdictLost
	class   string            // how the class of the packets begins; empty: "NEW"
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
	{name: "counted", rules: inChain("forward", 0, "udp dport 1001 counter drop"), lost: dport(1001), rule: "1001"},
	{name: "uncounted", rules: inChain("forward", 10, "udp dport 1002 drop"), lost: dport(1002), rule: "1002"},
	{name: "prerouting", rules: inChain("prerouting", -150, "udp dport 1003 counter drop"), lost: dport(1003), rule: "1003"},
	{name: "raw", rules: inChain("prerouting", -300, "udp dport 1004 counter drop"), lost: dport(1004), rule: "1004", class: "none"},
	{name: "raw uncounted", rules: inChain("prerouting", -301, "udp dport 1005 drop"), lost: dport(1005), rule: "1005", class: "none"},
	{name: "postrouting", rules: inChain("postrouting", 5, "udp dport 1006 counter drop"), lost: dport(1006), rule: "1006"},
	{name: "postrouting uncounted", rules: inChain("postrouting", 6, "udp dport 1007 drop"), lost: dport(1007), rule: "1007"},
	{name: "invalid", rules: inChain("forward", -5, "ct state invalid tcp dport 80 counter drop"), lost: line("tcp 198.18.0.2:%d > 192.0.2.2:80 SR"), rule: "dport 80", class: "INVALID"},
	{name: "reject", rules: inChain("forward", 20, "udp dport 1008 counter reject"), lost: dport(1008), rule: "1008", verdict: ctexp.VerdictReject},
	{name: "policy six", rules: "table ip6 p { chain c { type filter hook forward priority 45; policy drop; }; }\n", lost: line("udp [2001:db8:1::2]:%d > [2001:db8:2::2]:80")},
	{name: "ttl", lost: line("udp 198.18.0.2:%d > 192.0.2.2:80 ttl 1"), kind: observe.CauseHopLimit},
	{name: "no route", lost: line("udp 198.18.0.2:%d > 203.0.113.9:80"), kind: observe.CauseNoRoute},
	{name: "blackhole", shell: "ip route add blackhole 192.0.2.66/32", lost: line("udp 198.18.0.2:%d > 192.0.2.66:80"), kind: observe.CauseRefusingRoute},
	{name: "unreachable", shell: "ip route add unreachable 192.0.2.67/32", lost: line("udp 198.18.0.2:%d > 192.0.2.67:80"), kind: observe.CauseRefusingRoute},
	{name: "prohibit", shell: "ip route add prohibit 192.0.2.68/32", lost: line("udp 198.18.0.2:%d > 192.0.2.68:80"), kind: observe.CauseRefusingRoute},
	{name: "martian", lost: line("udp 127.0.0.1:%d > 192.0.2.2:80"), kind: observe.CauseMartian},
	{name: "rp_filter", shell: "echo 1 > /proc/sys/net/ipv4/conf/tun0/rp_filter", lost: line("udp 192.0.2.77:%d > 192.0.2.2:80"), kind: observe.CauseReversePath},
	{name: "checksum", lost: with(dport(80), packet.HeaderChecksum(1)), kind: observe.CauseHeaderChecksum, class: "none"},
	{name: "ihl", lost: with(dport(80), packet.IHL(4)), kind: observe.CauseMalformedHeader, class: "none"},
	{name: "ingress", rules: "table netdev i { chain c { type filter hook ingress device tun0 priority 0; udp dport 1009 counter drop; }; }\n", lost: dport(1009), rule: "1009", class: "none"},
	{name: "ingress uncounted", rules: "table netdev u { chain c { type filter hook ingress device tun0 priority 1; udp dport 1027 drop; }; }\n", lost: dport(1027), rule: "1027", class: "none"},
	{name: "early forward", rules: inChain("forward", -300, "udp dport 1028 counter drop"), lost: dport(1028), rule: "1028"},
	{name: "early forward, uncounted", rules: inChain("forward", -301, "udp dport 1029 drop"), lost: dport(1029), rule: "1029"},
	{name: "early input", rules: inChain("input", -300, "udp dport 1030 counter drop"), lost: line("udp 198.18.0.2:%d > 198.18.0.1:1030"), rule: "1030"},
	{name: "early input, uncounted", rules: inChain("input", -301, "udp dport 1031 drop"), lost: line("udp 198.18.0.2:%d > 198.18.0.1:1031"), rule: "1031"},
	{name: "early postrouting", rules: inChain("postrouting", -300, "udp dport 1032 counter drop"), lost: dport(1032), rule: "1032"},
	{name: "early postrouting, uncounted", rules: inChain("postrouting", -301, "udp dport 1033 drop"), lost: dport(1033), rule: "1033"},
	{name: "early prerouting", rules: inChain("prerouting", -500, "udp dport 1034 counter drop"), lost: dport(1034), rule: "1034", class: "none"},
	{name: "early prerouting, uncounted", rules: inChain("prerouting", -501, "udp dport 1035 drop"), lost: dport(1035), rule: "1035", class: "none"},
	{name: "late prerouting", rules: inChain("prerouting", 2000, "udp dport 1036 drop"), lost: dport(1036), rule: "1036"},
	{name: "late forward", rules: inChain("forward", 2147483647, "udp dport 1037 drop"), lost: dport(1037), rule: "1037"},
	{name: "late input", rules: inChain("input", 2147483647, "udp dport 1038 counter drop"), lost: line("udp 198.18.0.2:%d > 198.18.0.1:1038"), rule: "1038"},
	{name: "late postrouting", rules: inChain("postrouting", 2147483647, "udp dport 1039 drop"), lost: dport(1039), rule: "1039"},
	{name: "egress", rules: "table netdev e { chain c { type filter hook egress device tun1 priority 0; udp dport 1010 counter drop; }; }\n", lost: dport(1010), rule: "1010", onEgress: true},
	{name: "hop limit six", lost: line("udp [2001:db8:1::2]:%d > [2001:db8:2::2]:81 ttl 1"), kind: observe.CauseHopLimit},
	{name: "no route six", lost: line("udp [2001:db8:1::2]:%d > [2001:db8:9::2]:81"), kind: observe.CauseNoRoute},
	{name: "blackhole six", shell: "ip -6 route add blackhole 2001:db8:2::66/128", lost: line("udp [2001:db8:1::2]:%d > [2001:db8:2::66]:81"), kind: observe.CauseRefusingRoute},
	{name: "prohibit six", shell: "ip -6 route add prohibit 2001:db8:2::67/128", lost: line("udp [2001:db8:1::2]:%d > [2001:db8:2::67]:81"), kind: observe.CauseNoRoute},
	{name: "rule of routing", shell: "ip rule add to 192.0.2.69 prohibit", lost: line("udp 198.18.0.2:%d > 192.0.2.69:81"), kind: observe.CauseRefusingRoute},
	{name: "too big", shell: "ip link set tun1 mtu 1280", lost: with(line("udp 198.18.0.2:%d > 192.0.2.2:82 length 1300"), packet.DontFragment(true)), kind: observe.CauseTooBig},
	{name: "too big six", shell: "ip link set tun1 mtu 1280", lost: line("udp [2001:db8:1::2]:%d > [2001:db8:2::2]:82 length 1300"), kind: observe.CauseTooBig},
	{name: "both families", rules: inChain("forward", 40, "udp dport 1013 drop"), lost: either(1013), rule: "1013"},
	{name: "both families, counted", rules: inChain("forward", 41, "udp dport 1014 counter drop"), lost: either(1014), rule: "1014"},
	{name: "set", rules: inChain("forward", 42, "udp dport { 1015, 1115 } counter drop"), lost: dport(1015), rule: "1015"},
	{name: "jump", rules: "table ip j { chain b { udp dport 1016 counter drop; }; chain i { type filter hook input priority 7; jump b; }; chain f { type filter hook forward priority 7; jump b; }; }\n", lost: dport(1016), rule: "1016"},
	{name: "jump, input", rules: "table ip k { chain b { udp dport 1017 counter drop; }; chain i { type filter hook input priority 8; jump b; }; chain f { type filter hook forward priority 8; jump b; }; }\n", lost: line("udp 198.18.0.2:%d > 198.18.0.1:1017"), rule: "1017"},
	{name: "iptables", shell: "iptables-legacy -A FORWARD -p udp --dport 1018 -j DROP", lost: dport(1018), rule: "1018"},
	{name: "iptables-nft", shell: "iptables-nft -t mangle -A PREROUTING -p udp --dport 1019 -j DROP", lost: dport(1019), rule: "1019"},
	{name: "verdict map", rules: inChain("forward", 43, "udp dport vmap { 1020 : drop, 1021 : accept }"), lost: dport(1020), rule: "1020"},
	{name: "checksum of UDP", lost: with(line("udp 198.18.0.2:%d > 198.18.0.1:83"), packet.Checksum(1)), kind: observe.CauseChecksum, class: "INVALID"},
	{name: "input", rules: inChain("input", 1, "udp dport 1011 counter drop"), lost: line("udp 198.18.0.2:%d > 198.18.0.1:1011"), rule: "1011"},
	{name: "input uncounted", rules: inChain("input", 2, "udp dport 1012 drop"), lost: line("udp 198.18.0.2:%d > 198.18.0.1:1012"), rule: "1012"},
	{name: "of a known flow", rules: inChain("forward", 44, "udp dport 1022 meta length 78 counter drop"), lost: line("udp 198.18.0.2:7 > 192.0.2.2:1022 length 50 id %d"), rule: "1022", beside: line("udp 198.18.0.2:7 > 192.0.2.2:1022 id %d")},
	{name: "of a known flow, uncounted", rules: inChain("postrouting", 45, "udp dport 1023 meta length 78 drop"), lost: line("udp 198.18.0.2:7 > 192.0.2.2:1023 length 50 id %d"), rule: "1023", beside: line("udp 198.18.0.2:7 > 192.0.2.2:1023 id %d")},
	{name: "untracked", rules: inChain("prerouting", -299, "udp dport 1024 notrack") + inChain("forward", 46, "udp dport 1024 meta length 78 drop"), lost: line("udp 198.18.0.2:%d > 192.0.2.2:1024 length 50"), rule: "1024", beside: line("udp 198.18.0.2:%d > 192.0.2.2:1024"), class: "UNTRACKED"},
	{name: "invalid, last", rules: inChain("postrouting", 47, "ct state invalid tcp dport 1025 drop"), lost: line("tcp 198.18.0.2:%d > 192.0.2.2:1025 SR"), rule: "1025", beside: line("tcp 198.18.0.2:%d > 192.0.2.2:1026 FR"), class: "INVALID"},
}

// draw is some hazards, and packets of which some meet them.
type draw struct {
	seed    uint64
	dice    *rand.Rand
	hazards []hazard
	packets []packet.Packet
	lost    map[string]hazard // by packet, those that are lost
	class   map[string]string // by packet
	took    map[string]int    // by the name of a hazard; none for some
}

// drawn draws up to six hazards, with up to three packets for each, and some packets that are not lost.
func drawn(seed uint64) *draw {
	d := &draw{seed: seed, dice: rand.New(rand.NewPCG(seed, 0)), lost: map[string]hazard{}, class: map[string]string{}, took: map[string]int{}}
	for _, i := range d.dice.Perm(len(hazards))[:1+d.dice.IntN(6)] {
		h := hazards[i]
		if h.onEgress && !kernel.EgressHook.Here() {
			continue
		}
		d.hazards = append(d.hazards, h)
		for range d.dice.IntN(4) {
			p := h.lost(len(d.packets))
			d.lost[string(p)] = h
			d.took[h.name]++
			d.add(p, h.class)
		}
		for range d.dice.IntN(3) {
			if h.beside != nil {
				d.add(h.beside(len(d.packets)), h.class)
			}
		}
	}
	for range 1 + d.dice.IntN(3) {
		d.add(dport(9)(len(d.packets)), "")
	}
	d.dice.Shuffle(len(d.packets), func(i, j int) { d.packets[i], d.packets[j] = d.packets[j], d.packets[i] })
	return d
}

// add adds a packet of a class; empty: "NEW".
func (d *draw) add(p packet.Packet, class string) {
	d.packets, d.class[string(p)] = append(d.packets, p), cmp.Or(class, "NEW")
}

// ofBoth returns a router between tun0 and tun1 for both families.
func ofBoth(rules ...netnsenv.Ruleset) netnsenv.Config {
	cfg := routing(rules...)
	cfg.Sysctls["net.ipv6.conf.all.forwarding"] = "1"
	cfg.Links[0].Prefixes = prefixes("198.18.0.1/24", "2001:db8:1::1/64")
	cfg.Links[1].Prefixes = prefixes("192.0.2.1/24", "2001:db8:2::1/64")
	return cfg
}

// router is a new one with the hazards.
func (d *draw) router(t *testing.T, change func(*netnsenv.Config)) *ctexp.Experiment {
	t.Helper()
	cfg := ofBoth()
	cfg.Sysctls["net.ipv4.icmp_ratemask"] = "0"
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

var drawSeed = flag.Uint64("draw", 0, "repeat one draw of the tests of hazards")

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
