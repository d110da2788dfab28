package ctexp_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/golden"
)

// The same policy in three languages: port 8080 of the router leads to the server, telnet is dropped, ident is refused, what
// goes out is masqueraded.
const (
	policySave = `*nat
-A PREROUTING -i tun0 -p tcp --dport 8080 -j DNAT --to-destination 192.0.2.1:80
-A POSTROUTING -o tun1 -j MASQUERADE
COMMIT
*filter
-A FORWARD -p tcp --dport 23 -j DROP
-A FORWARD -p tcp --dport 113 -j REJECT --reject-with tcp-reset
COMMIT
`
	policyNFT = `table ip router {
	chain by-dnat {
		type nat hook prerouting priority dstnat;
		iifname "tun0" tcp dport 8080 dnat to 192.0.2.1:80
	}
	chain by-snat {
		type nat hook postrouting priority srcnat;
		oifname "tun1" masquerade
	}
	chain by-filter {
		type filter hook forward priority filter;
		tcp dport 23 drop
		tcp dport 113 reject with tcp reset
	}
}
`
)

// comparedRouter has the clients behind tun0 and the server behind tun1.
var comparedRouter = netnsenv.Config{Links: router.Links, Sysctls: router.Sysctls}

// comparedPackets are one of each kind, the last one the server's answer to the second, to where it was masqueraded.
func comparedPackets() []packet.Packet {
	to := func(port uint16) packet.Flow {
		return packet.Flow{Src: netip.AddrPortFrom(web.Src.Addr(), 10000+port), Dst: netip.AddrPortFrom(web.Dst.Addr(), port)}
	}
	return []packet.Packet{
		packet.SYN(to(80)),
		packet.SYN(packet.Flow{Src: web.Src, Dst: netip.MustParseAddrPort("198.18.0.1:8080")}),
		packet.SYN(to(23)),
		packet.SYN(to(113)),
		to(53).UDP([]byte("question")),
		to(53).UDP([]byte("too far")).With(packet.TTL(1)),
		packet.Echo(web.Src.Addr(), web.Dst.Addr(), 7, 1, []byte("ping")),
		packet.SYNACK(packet.Flow{Src: web.Dst, Dst: netip.MustParseAddrPort("192.0.2.254:10000")}),
	}
}

func TestRenderingsOfAPolicyAreTheSame(t *testing.T) {
	t.Parallel()
	c, err := ctexp.Compare(t.Context(), comparedRouter, []ctexp.Policy{
		{Name: "legacy", Rules: []netnsenv.Ruleset{netnsenv.IPTablesSave(netnsenv.IPTablesLegacy, policySave)}},
		{Name: "iptables-nft", Rules: []netnsenv.Ruleset{netnsenv.IPTablesSave(netnsenv.IPTablesNFT, policySave)}},
		{Name: "nft", Rules: []netnsenv.Ruleset{netnsenv.NFT(policyNFT)}},
	}, packet.Packets(comparedPackets()...))
	ctexp.Require(t, "compare", err)

	if diff := c.Diff(); diff != "" {
		t.Errorf("the renderings differ:\n%s", diff)
	}
	for _, want := range []string{
		"packet 3 on tun0: IP 198.18.0.2.10023 > 192.0.2.1.23: Flags [S], seq 1, win 65535, length 0\n  legacy, iptables-nft, nft: lost in forward\n    no entry\n",
		"packet 8 on tun1: IP 192.0.2.1.80 > 192.0.2.254.10000: Flags [S.], seq 1, ack 2, win 65535, length 0\n" +
			"  legacy, iptables-nft, nft: leaves on tun0: IP 198.18.0.1.8080 > 198.18.0.2.10000: Flags [S.], seq 1, ack 2, win 65535, length 0\n",
		"      legacy: between filter/forward and security/forward: dropped by iptables-legacy ip filter FORWARD: -p tcp -m tcp --dport 23 -j DROP",
	} {
		if !strings.Contains(c.String(), want) {
			t.Errorf("all that became of them:\n%s\nwant it to contain\n%s", c, want)
		}
	}
}

// A rendering that drops what another rejects, forgets the DNAT and marks with another TTL is found out packet by packet.
func TestDifferenceOfPoliciesIsShown(t *testing.T) {
	t.Parallel()
	changed := strings.NewReplacer("reject with tcp reset", "drop", "tcp dport 8080", "tcp dport 8081", "tcp dport 23 drop", "tcp dport 80 ip ttl set 9").Replace(policyNFT)
	c, err := ctexp.Compare(t.Context(), comparedRouter, []ctexp.Policy{
		{Name: "old", Rules: []netnsenv.Ruleset{netnsenv.NFT(policyNFT)}},
		{Name: "same", Rules: []netnsenv.Ruleset{netnsenv.NFT(policyNFT)}},
		{Name: "new", Rules: []netnsenv.Ruleset{netnsenv.NFT(changed)}},
	}, packet.Packets(comparedPackets()[:5]...))
	ctexp.Require(t, "compare", err)

	golden.Check(t, "comparediff.txt", c.Diff())
}

func TestWrongComparisonsAreRefused(t *testing.T) {
	t.Parallel()
	good := ctexp.Policy{Name: "good"}
	missing := ctexp.Policy{Name: "bad", Rules: []netnsenv.Ruleset{netnsenv.IPTables("iptables-new", "-A INPUT")}}
	for want, tt := range map[string]struct {
		policies []ctexp.Policy
		packets  []packet.Packet
	}{
		"ctexp: compare: 1 policies: want two or more":     {[]ctexp.Policy{good}, nil},
		`ctexp: compare: policy "good": the name is taken`: {[]ctexp.Policy{good, good}, nil},
		`ctexp: compare: policy "bad": netnsenv: `:         {[]ctexp.Policy{good, missing}, nil},
		"send packet 1 to tun0: 5000 bytes into":           {[]ctexp.Policy{good, {}}, []packet.Packet{make(packet.Packet, 5000)}},
	} {
		_, err := ctexp.Compare(t.Context(), netnsenv.Config{Links: veth}, tt.policies, packet.Packets(tt.packets...))
		if errors.Is(err, errors.ErrUnsupported) {
			ctexp.Require(t, "compare", err)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	if _, err := ctexp.Compare(t.Context(), netnsenv.Config{}, []ctexp.Policy{good, {}}, nil); err == nil {
		t.Error("no packets at all are no error")
	}
}
