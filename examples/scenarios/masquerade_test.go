package scenarios

import (
	"testing"

	"github.com/google/nftables/expr"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Linux, tools/testing/selftests/net/netfilter/nft_nat.sh (test_masquerade, test_masquerade6): behind a router that masquerades
// the server sees the router's address and never the client's, whose answer comes as from the server that it has asked; with
// the ports left alone, random, or fully random.
func TestMasqueradingHidesTheClient(t *testing.T) {
	t.Parallel()
	for name, masq := range map[string]expr.Masq{"": {}, "random": {Random: true}, "fully-random": {FullyRandom: true}} {
		t.Run("masquerade "+name, func(t *testing.T) {
			t.Parallel()
			x := ctexp.New(t, router(table(natAt(nf.Postrouting, when(oif("server"), rule{&masq})))))
			var want, got []packet.Record
			for _, end := range []struct{ client, router, server packet.Flow }{
				{client: flow(client4, 1000, server4, 53), router: flow(outer4, 1000, server4, 53)},
				{client: flow(client6, 1000, server6, 53), router: flow(outer6, 1000, server6, 53)},
			} {
				question, answer := end.client.UDP([]byte("question")), end.client.Reverse().UDP([]byte("answer"))
				x.InjectOn("client", packet.Packets(question))
				got = append(got, x.Received()...)
				if masq != (expr.Masq{}) { // any port will do
					end.router.Src = x.Flow(question.Tuple()).Reply.Dst
				}
				x.InjectOn("server", packet.Packets(end.router.Reverse().UDP([]byte("answer"))))
				got = append(got, x.Received()...)
				want = append(want,
					end.router.UDP([]byte("question")).With(packet.TTL(63)).On("server", packet.Out),
					answer.With(packet.TTL(63)).On("client", packet.Out))
			}

			if diff := ctexp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
