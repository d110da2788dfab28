package scenarios

import (
	"net/netip"
	"testing"

	"github.com/google/nftables/expr"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Linux, tools/testing/selftests/net/netfilter/nft_nat.sh (test_port_shadow): behind a router that masquerades, a host sends
// from the port of a service of the router to a high port outside. Who then asks that service from that high port is
// answered by the inside host, since its packet belongs to the flow that is there. Not so if such packets from inside are
// filtered, if the service is untracked, or if their source ports are mapped to others.
func TestFlowFromInsideShadowsAServiceOfTheRouter(t *testing.T) {
	t.Parallel()
	const service, high = 1405, 41404
	fromService := append(proto(nf.UDP),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 2},
		&expr.Cmp{Op: expr.CmpOpLte, Register: 1, Data: network(service)})
	toRouter := when(oif("server"), masquerade())
	hide := natAt(nf.Postrouting, toRouter)
	for name, tt := range map[string]struct {
		chains   []chain
		answerer string
	}{
		"by default": {[]chain{hide}, "inside"},
		"filtered":   {[]chain{hide, filterAt(nf.Forward, nf.PriorityFilter, when(iif("client"), fromService, drop()))}, "router"},
		"untracked": {[]chain{
			hide, filterAt(nf.Prerouting, nf.PriorityRaw, when(iif("server"), dport(nf.UDP, service), notrack())),
			filterAt(nf.Output, nf.PriorityRaw, when(oif("server"), fromService, notrack())),
		}, "router"},
		"remapped": {[]chain{natAt(nf.Postrouting, when(iif("client"), fromService, snat(outer4, service+1)), toRouter)}, "router"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := ctexp.New(t, router(table(tt.chains...)))
			router := listenUDP(t, x, netip.AddrPortFrom(outer4, service).String())
			fromInside, question := flow(client4, service, server4, high), flow(server4, high, outer4, service)

			x.InjectOn("client", packet.Packets(fromInside.UDP([]byte("fake"))))
			x.Received() // it went out, or not
			x.InjectOn("server", packet.Packets(question.UDP([]byte("who is there?"))))
			if len(x.Received()) > 0 {
				x.InjectOn("client", packet.Packets(fromInside.UDP([]byte("inside"))))
			} else {
				_, from, err := router.ReadFrom(make([]byte, 100))
				ctexp.Require(t, "receive", err)
				_, err = router.WriteTo([]byte("router"), from)
				ctexp.Require(t, "answer", err)
			}

			x.Expect(packet.Match{Out: "server", Src: question.Dst, Dst: question.Src, Payload: []byte(tt.answerer)})
		})
	}
}
