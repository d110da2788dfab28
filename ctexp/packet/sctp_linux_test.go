package packet_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// Conntrack on a router follows an association from its INIT to its end, by the chunks and the tags.
func TestConntrackFollowsAnSCTPAssociation(t *testing.T) {
	t.Parallel()
	env := open(t, netnsenv.Config{
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
		Links: []netnsenv.LinkConfig{
			{Name: "client", Prefixes: []netip.Prefix{netip.MustParsePrefix("198.18.0.1/24")}},
			{Name: "server", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.254/24")}},
		},
	})
	o := observer(t, env)
	const clients, servers = 11, 22 // the tags that packets to each side carry
	cookie := []byte("cookie")
	var got []string
	for _, step := range []struct {
		link   string
		packet packet.Packet
	}{
		{"client", web.SCTP(0, packet.SCTPInit(clients, 100))},
		{"server", web.Reverse().SCTP(clients, packet.SCTPInitAck(servers, 200, cookie))},
		{"client", web.SCTP(servers, packet.SCTPCookieEcho(cookie))},
		{"server", web.Reverse().SCTP(clients, packet.SCTPCookieAck())},
		{"client", web.SCTP(servers, packet.SCTPData(100, 0, 0, []byte("hello")))},
		{"server", web.Reverse().SCTP(clients+1, packet.SCTPAbort())}, // of another association
		{"client", web.SCTP(servers, packet.SCTPShutdown(200))},
		{"server", web.Reverse().SCTP(clients, packet.SCTPShutdownAck())},
		{"client", web.SCTP(servers, packet.SCTPShutdownComplete())},
	} {
		if _, err := inject.New(env.Link(step.link)).Send(t.Context(), packet.Packets(step.packet)); err != nil {
			t.Fatal(err)
		}
		for e, err := range o.Flows(t.Context(), nf.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(e.OtherState, e.Status.Has(nf.Assured)))
		}
	}
	want := []string{
		"CLOSEDfalse", "COOKIE_WAITfalse", "COOKIE_ECHOEDfalse", "ESTABLISHEDtrue", "ESTABLISHEDtrue", "ESTABLISHEDtrue",
		"SHUTDOWN_SENTtrue", "SHUTDOWN_ACK_SENTtrue", "CLOSEDtrue",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("state and assured after each packet (-want +got):\n%s", diff)
	}
}
