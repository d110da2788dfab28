package firewall

import (
	"net/netip"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func TestMain(m *testing.M) { ctexp.Main(m) }

// rules is the ruleset under test: ssh from the administrators' network, the web for all, answers, nothing else.
const rules = `
table inet firewall {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state invalid counter drop
		ct state established,related accept
		tcp dport 22 ip saddr 198.18.7.0/24 accept
		tcp dport { 80, 443 } accept
		counter
	}
}
`

func flow(src, dst string) packet.Flow {
	return packet.Flow{Src: netip.MustParseAddrPort(src), Dst: netip.MustParseAddrPort(dst)}
}

func TestFirewallLetsInWhatItShould(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		packet packet.Packet
		passes bool
	}{
		"the web, from anywhere":       {packet.SYN(flow("198.18.0.2:4000", "192.0.2.1:443")), true},
		"ssh, from the administrators": {packet.SYN(flow("198.18.7.9:4000", "192.0.2.1:22")), true},
		"ssh, from anywhere":           {packet.SYN(flow("198.18.0.2:4000", "192.0.2.1:22")), false},
		"a datagram to the web's port": {flow("198.18.0.2:4000", "192.0.2.1:443").UDP(nil), false},
		"all flags at once":            {flow("198.18.0.2:4000", "192.0.2.1:443").TCP(packet.TCP{Flags: 0x3f}), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := ctexp.New(t, netnsenv.Config{
				Silent: true,
				Rules:  []netnsenv.Ruleset{netnsenv.NFT(rules)},
				Probes: []nf.Probe{nf.FilterInput, nf.SecurityInput}, // before the rules and behind them
			})

			x.Inject(packet.Packets(tt.packet))

			want := map[string]uint64{"filter/input": 1, "security/input": 0}
			if tt.passes {
				want["security/input"] = 1
			}
			if diff := ctexp.Diff(want, x.Tally().Packets); diff != "" {
				t.Errorf("%v (-want +got):\n%s", tt.packet, diff)
			}
		})
	}
}

// A stray ACK makes no flow in strict mode, and the rule for invalid packets counts it.
func TestFirewallCountsStrayACKs(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{
		Silent:  true,
		Rules:   []netnsenv.Ruleset{netnsenv.NFT(rules)},
		Sysctls: map[string]string{"net.netfilter.nf_conntrack_tcp_loose": "0"},
	})

	x.Inject(packet.ACKs(3, flow("198.18.0.2:4000", "192.0.2.1:443")))

	if diff := (x.Tally().Diff(observe.Tally{Packets: map[string]uint64{}, Invalid: 3})); diff != "" {
		t.Errorf("3 stray ACKs (-want +got):\n%s", diff)
	}
	if r := x.Rules()[0]; r.Packets != 3 {
		t.Errorf("the first rule counted otherwise than 3: %v", r)
	}
}
