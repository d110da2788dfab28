package scenarios

import (
	"testing"

	"github.com/google/nftables/expr"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Linux, tools/testing/selftests/net/netfilter/rpath.sh: the reverse-path filters of nftables and of both iptables match what
// comes by the link that answers would leave by, and nothing else, in IPv4 and IPv6. (The original asks again in a VRF.)
func TestReversePathFiltersTellMartians(t *testing.T) {
	t.Parallel()
	const text = "*raw\n-A PREROUTING -m rpfilter\n-A PREROUTING -m rpfilter --invert\nCOMMIT\n"
	iptables := func(v netnsenv.Variant) []netnsenv.Ruleset {
		return []netnsenv.Ruleset{netnsenv.IPTablesSave(v, text), netnsenv.IP6TablesSave(v, text)}
	}
	fib := func(f nf.Family) rule {
		return when(family(f), rule{
			&expr.Fib{Register: 1, FlagSADDR: true, FlagIIF: true, ResultOIF: true, FlagPRESENT: true},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{1}},
		}, count())
	}
	for name, tt := range map[string]struct {
		rules []netnsenv.Ruleset
		want  []uint64
	}{
		"nftables":        {[]netnsenv.Ruleset{table(filterAt(nf.Prerouting, nf.PriorityRaw, fib(nf.IPv4), fib(nf.IPv6)))}, []uint64{3, 3}},
		"iptables-legacy": {iptables(netnsenv.IPTablesLegacy), []uint64{3, 2, 3, 2}},
		"iptables-nft":    {iptables(netnsenv.IPTablesNFT), []uint64{3, 2, 3, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := ctexp.New(t, netnsenv.Config{
				Links: []netnsenv.LinkConfig{
					{Name: "near", Prefixes: prefixes("192.168.23.1/24", "fec0:23::1/64")},
					{Name: "away", Prefixes: prefixes("192.168.42.1/24", "fec0:42::1/64")},
				},
				Silent: true,
				Rules:  tt.rules,
			})
			regular4 := packet.Echo(addr("192.168.23.2"), addr("192.168.23.1"), 1, 1, nil)
			regular6 := packet.Echo(addr("fec0:23::2"), addr("fec0:23::1"), 1, 1, nil)
			martian4 := packet.Echo(addr("192.168.42.2"), addr("192.168.42.1"), 1, 1, nil)
			martian6 := packet.Echo(addr("fec0:42::2"), addr("fec0:42::1"), 1, 1, nil)

			x.InjectOn("near", packet.Concat(
				packet.Repeat(3, regular4), packet.Repeat(3, regular6), packet.Repeat(2, martian4), packet.Repeat(2, martian6)))

			var got []uint64
			for _, r := range x.Rules() {
				if r.Kind == observe.KindRule {
					got = append(got, r.Packets)
				}
			}
			if diff := ctexp.Diff(tt.want, got); diff != "" {
				t.Errorf("3 regular packets and 2 martians of each family, by rule (-want +got):\n%s", diff)
			}
		})
	}
}
