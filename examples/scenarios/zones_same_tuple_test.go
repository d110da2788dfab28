package scenarios

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Linux, tools/testing/selftests/net/netfilter/nft_nat_zones.sh: a hundred clients with one and the same address and port,
// each behind a link of its own, are told apart by zone and mark. Masquerading gives each a port of its own, and the
// answers, which come in zone 0, find their way back to the right one.
func TestClientsWithTheSameTupleAreToldApartByZones(t *testing.T) {
	t.Parallel()
	const clients = 100
	cfg := netnsenv.Config{
		Links:   []netnsenv.LinkConfig{{Name: "server", Prefixes: prefixes("10.3.0.1/24")}},
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
	}
	var numbers []string
	for i := range clients {
		cfg.Links = append(cfg.Links, netnsenv.LinkConfig{
			Name: fmt.Sprint("client", i+1), Prefixes: prefixes("10.1.0.2/24"), Routes: prefixes(), Mark: uint32(i + 1),
		})
		numbers = append(numbers, fmt.Sprintf("client%d : %d", i+1, i+1))
	}
	cfg.Rules = []netnsenv.Ruleset{netnsenv.NFT(strings.ReplaceAll(`
table inet raw {
	chain prerouting {
		type filter hook prerouting priority raw;
		ct original zone set meta iifname map { NUMBERS }
		meta mark set meta iifname map { NUMBERS }
	}
	chain mangle_prerouting {
		type filter hook prerouting priority mangle;
		ct direction reply meta mark set ct mark
	}
	chain postrouting {
		type nat hook postrouting priority srcnat;
		ct mark set meta mark oifname server masquerade
	}
}`, "NUMBERS", strings.Join(numbers, ", ")))}
	x := ctexp.New(t, cfg)
	same := flow(addr("10.1.0.3"), 10000, addr("10.3.0.99"), 5201)

	for i := range clients {
		x.InjectOn(fmt.Sprint("client", i+1), packet.Packets(packet.SYN(same)))
	}
	for _, f := range (packet.Match{Out: "server"}).Select(x.Frames()) {
		x.InjectOn("server", packet.Packets(packet.SYNACK(packet.Flow{Src: f.Tuple().Dst, Dst: f.Tuple().Src})))
	}

	type result struct {
		Answers map[string]nf.Tuple // by the link that they left by
		Marks   map[uint16]uint32   // by the zone of the original direction
		Ports   int                 // that the server sees
	}
	want := result{Answers: map[string]nf.Tuple{}, Marks: map[uint16]uint32{}, Ports: clients}
	for i := range clients {
		want.Answers[fmt.Sprint("client", i+1)] = same.Tuple(nf.TCP).Reverse()
		want.Marks[uint16(i+1)] = uint32(i + 1)
	}
	got := result{Answers: map[string]nf.Tuple{}, Marks: map[uint16]uint32{}}
	for _, f := range (packet.Match{Flags: packet.FlagSYN | packet.FlagACK}).Select(x.Frames()) {
		if f.Dir == packet.Out {
			got.Answers[f.Link] = f.Tuple()
		}
	}
	ports := map[uint16]bool{}
	for _, e := range x.Flows() {
		got.Marks[e.ZoneOf(nf.Original)] = e.Mark
		ports[e.Reply.Dst.Port()] = true
	}
	got.Ports = len(ports)
	if diff := ctexp.Diff(want, got); diff != "" {
		t.Errorf("%v from %d clients, answered (-want +got):\n%s", same, clients, diff)
	}
}
