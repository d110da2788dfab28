package scenarios

import (
	"testing"

	"github.com/google/nftables/expr"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/observe"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/kernel"
)

// Linux, tools/testing/selftests/net/netfilter/conntrack_clash.sh: of two packets of one flow of UDP that are on their way
// before the flow has an entry, both get one; the second to be confirmed finds that of the first and shares it, or, where NAT
// has sent the two to different servers, keeps its own for the answer. Every packet goes on. The original sends by many
// threads and hopes for a race; here both are held unconfirmed and released together. (Before 6.12 the second takes the
// entry of the first, and its server, when it leaves the queue: there is no clash.)
func TestClashOfTwoInsertsOfOneFlowIsResolved(t *testing.T) {
	t.Parallel()
	const service, one, other = 22111, 9000, 9001
	question := flow(client4, 1000, server4, service)
	for name, ports := range map[string][2]uint16{
		"without NAT":    {service, service},
		"with balancing": {one, other},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := router()
			if ports[0] != service {
				first := rule{&expr.Numgen{Register: 1, Modulus: 2, Type: 0}, equals(native(0))} // NFT_NG_INCREMENTAL
				cfg.Rules = append(cfg.Rules, table(natAt(nf.Prerouting, when(first, dnat(server4, one)), dnat(server4, other))))
			}
			x := ctexp.New(t, cfg)
			queue := x.Hold(nf.Probe{Hook: nf.Forward, Match: nf.Match{In: "client"}})

			clashes := observe.Stats{ClashResolve: 1}
			if !kernel.QueuedClashes.Here() {
				clashes, ports[1] = observe.Stats{}, ports[0]
			}
			clashes.NoChainTooLong = !kernel.ChainTooLong.Here()

			x.InjectOn("client", packet.Packets(question.UDP([]byte("one")), question.UDP([]byte("two"))))
			held := len(x.Flows())
			queue.Release(queue.Held()...)
			got := x.Received()
			var answers []packet.Packet
			for _, port := range ports {
				answers = append(answers, flow(server4, port, client4, 1000).UDP([]byte("answer")))
			}
			x.InjectOn("server", packet.Packets(answers...))
			got = append(got, x.Received()...)

			if held != 0 {
				t.Errorf("%d entries before the release", held)
			}
			forwarded, answer := packet.TTL(63), question.Reverse().UDP([]byte("answer")).With(packet.TTL(63))
			want := []packet.Record{
				question.UDP([]byte("one")).With(packet.DstPort(ports[0]), forwarded).On("server", packet.Out),
				question.UDP([]byte("two")).With(packet.DstPort(ports[1]), forwarded).On("server", packet.Out),
				answer.On("client", packet.Out),
				answer.On("client", packet.Out),
			}
			if diff := ctexp.Diff(want, got); diff != "" {
				t.Errorf("what left (-want +got):\n%s", diff)
			}
			if diff := ctexp.Diff(clashes, x.Stats()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
