package redtest_test

import (
	"net/netip"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// A counter that moved proves nothing if it also counts what was not lost, or was lost elsewhere.
func TestSharedCountersProveNothing(t *testing.T) {
	t.Parallel()
	syn, six := packet.SYN(through), packet.MustParse("udp [2001:db8:1::2]:5 > [2001:db8:2::2]:80")
	for name, c := range map[string]struct {
		rules, shell string
		packets      []packet.Packet
		not          observe.CauseKind // no cause of this kind is certain
	}{
		"a counter before a match": {
			"table ip n { chain f { type filter hook forward priority 0; tcp dport 80 counter ip ttl 1 drop; }; chain g { type filter hook forward priority 1; drop; }; }",
			"", []packet.Packet{syn}, observe.CauseRule,
		},
		"a counter before a limit": {
			"table ip n { chain f { type filter hook forward priority 0; counter limit rate over 9/second drop; }; chain g { type filter hook forward priority 1; drop; }; }",
			"", []packet.Packet{syn}, observe.CauseRule,
		},
		"a chain that two hooks jump to": {
			"table ip n { chain b { tcp dport 80 counter drop; }; chain i { type filter hook input priority 0; jump b; }; " +
				"chain f { type filter hook forward priority 0; jump b; }; chain g { type filter hook forward priority 1; drop; }; }",
			"", []packet.Packet{packet.SYN(web), through.UDP(nil)}, observe.CauseRule,
		},
		"a rule for both families": {
			"table inet n { chain f { type filter hook forward priority 0; tcp dport 80 counter drop; }; chain g { type filter hook forward priority 1; drop; }; }",
			"", []packet.Packet{syn, six}, observe.CauseRule,
		},
		"header errors, by options": {
			"", "", []packet.Packet{syn.With(packet.IPOptions(packet.IPOption{Kind: 68, Data: []byte{1}}))}, observe.CauseHopLimit,
		},
		"header errors, before the hooks": {
			"", "ip route add blackhole 192.0.2.2/32", []packet.Packet{syn.With(packet.IHL(4)), syn}, observe.CauseHopLimit,
		},
		"header errors of IPv6": {
			"", "ip route add blackhole 2001:db8:2::2/128", []packet.Packet{six.With(packet.HopByHop(0xc2, 4, 0, 0, 0, 0)), six}, observe.CauseHopLimit,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := ofBoth()
			if c.rules != "" {
				cfg.Rules = []netnsenv.Ruleset{netnsenv.NFT(c.rules)}
			}
			x := ctexp.New(t, cfg)
			if c.shell != "" {
				shell(c.shell)(t, x)
			}
			x.Inject(packet.Packets(c.packets...))
			losses := x.Path().Losses()
			if len(losses) == 0 {
				t.Error("no packet was lost")
			}
			for _, l := range losses {
				for _, cause := range l.Causes {
					if cause.Certain && cause.Kind == c.not {
						t.Errorf("certain, but false: %v", l)
					}
				}
			}
		})
	}
}

// Where the hop limit was exceeded, it is said for certain, beside other header errors, too.
func TestHopLimitIsCertain(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Sysctls: map[string]string{"net.ipv4.ip_forward": "1"}})
	syn := packet.SYN(packet.Flow{Src: web.Src, Dst: netip.MustParseAddrPort("203.0.113.1:80")})
	x.Inject(packet.Packets(syn.With(packet.TTL(1)), syn.With(packet.IHL(4))))
	losses := x.Path().Losses()
	if n := len(losses); n != 2 || losses[1].Why() != "time to live exceeded (IpInHdrErrors +1)" {
		t.Errorf("%v", losses)
	}
}
