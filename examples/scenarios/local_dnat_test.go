package scenarios

import (
	"net/netip"
	"testing"

	"github.com/google/nftables"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Linux, tools/testing/selftests/net/netfilter/nft_nat.sh (test_local_dnat, test_local_dnat6): what the host itself sends to
// one address goes to another by DNAT in output, and the answer comes as from the first; when the chain has been flushed, what
// is new goes where it was sent to.
func TestDNATOfTheHostsOwnTrafficUntilItsRulesAreFlushed(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, router(table(natAt(nf.Output, when(daddr(client4), dnat(server4, 0)), when(daddr(client6), dnat(server6, 0))))))

	// ask sends a question by a new socket of the host, which a peer behind a link answers.
	ask := func(to netip.Addr, link string, peer netip.Addr) {
		t.Helper()
		socket := dialing(t, x, "udp", netip.AddrPortFrom(to, 53))()
		write(t, socket, "question")
		p := x.UDP(link, packet.Flow{Src: netip.AddrPortFrom(peer, 53)})
		p.Expect([]byte("question"))
		p.Send([]byte("answer"))
		if got := read(t, socket, len("answer")); got != "answer" {
			t.Errorf("the socket has received %q", got)
		}
	}
	ask(client4, "server", server4)
	ask(client6, "server", server6)
	translated := x.Flush(nf.Filter{Status: nf.DstNAT, StatusMask: nf.DstNAT})
	x.Load(netnsenv.NFTables(func(c *nftables.Conn) error {
		c.FlushChain(&nftables.Chain{Table: &nftables.Table{Family: nftables.TableFamilyINet, Name: "scenario"}, Name: "a"})
		return nil
	}))
	ask(client4, "client", client4)
	ask(client6, "client", client6)

	x.ExpectNothing()
	got := []int{translated, len(x.Flows(nf.Filter{Status: nf.DstNAT, StatusMask: nf.DstNAT})), len(x.Flows())}
	if diff := ctexp.Diff([]int{2, 0, 2}, got); diff != "" {
		t.Errorf("entries with DNAT before the chain was flushed, and after, and all (-want +got):\n%s", diff)
	}
}
