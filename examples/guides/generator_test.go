package guides

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Service is what the generator makes rules of.
type Service struct {
	Port    uint16
	Sources []netip.Prefix // nil: everybody
}

// Rules returns the rules of a host with these services.
func Rules(services ...Service) string {
	var b strings.Builder
	b.WriteString("table inet host {\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n")
	for _, s := range services {
		from := ""
		if s.Sources != nil {
			var list []string
			for _, p := range s.Sources {
				list = append(list, p.String())
			}
			from = "ip saddr { " + strings.Join(list, ", ") + " } "
		}
		fmt.Fprintf(&b, "\t\t%stcp dport %d counter accept\n", from, s.Port)
	}
	b.WriteString("\t}\n}\n")
	return b.String()
}

var services = []Service{
	{Port: 22, Sources: []netip.Prefix{netip.MustParsePrefix("198.18.7.0/24")}},
	{Port: 443},
}

// The rules let in what they should, and count it.
func TestServicesAreReached(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{
		Silent: true,
		Rules:  []netnsenv.Ruleset{netnsenv.NFT(Rules(services...))},
		Probes: []nf.Probe{nf.SecurityInput}, // behind the rules
	})

	x.Inject(packet.Packets(
		packet.MustParse("tcp 198.18.0.2:4000 > 192.0.2.1:443 S"),
		packet.MustParse("tcp 198.18.0.2:4000 > 192.0.2.1:22 S"),
		packet.MustParse("tcp 198.18.7.2:4000 > 192.0.2.1:22 S"),
	))

	want := observe.Tally{Packets: map[string]uint64{"security/input": 2}, Entries: 2}
	if diff := x.Tally().Diff(want); diff != "" {
		x.Errorf("three packets, of which two are for services (-want +got):\n%s", diff)
	}
	for _, r := range x.Rules() {
		if r.Kind == nf.KindRule && r.Packets != 1 {
			x.Errorf("the rule counted otherwise than 1: %v", r)
		}
	}
}

// A service more changes nothing for the packets of the others.
func TestAServiceMoreChangesNothingElse(t *testing.T) {
	t.Parallel()
	policies := []ctexp.Policy{
		{Name: "before", Rules: []netnsenv.Ruleset{netnsenv.NFT(Rules(services...))}},
		{Name: "after", Rules: []netnsenv.Ruleset{netnsenv.NFT(Rules(append(services[:2:2], Service{Port: 80})...))}},
	}
	packets, err := packet.ParseAll(`
		tcp 198.18.0.2:4000 > 192.0.2.1:443 S
		tcp 198.18.0.2:4000 > 192.0.2.1:22 S
		udp 198.18.0.2:4000 > 192.0.2.1:443
	`)
	if err != nil {
		t.Fatal(err)
	}

	c, err := ctexp.Compare(t.Context(), netnsenv.Config{Silent: true}, policies, packet.Packets(packets...))

	ctexp.Require(t, "compare", err)
	if diff := c.Diff(); diff != "" {
		t.Errorf("the new service changed:\n%s", diff)
	}
}
