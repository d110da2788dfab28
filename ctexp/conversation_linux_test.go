package ctexp_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
)

var (
	inside  = netip.MustParseAddrPort("198.18.0.2:10000")
	outside = netip.MustParseAddrPort("203.0.113.80:80")
)

// natRouter forwards between the links tun0 and tun1, and hides what is behind tun0.
func natRouter() netnsenv.Config {
	return netnsenv.Config{
		Links: []netnsenv.LinkConfig{
			{Prefixes: prefixes("198.18.0.1/24")}, {Prefixes: prefixes("203.0.113.1/24")},
		},
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
		Rules:   []netnsenv.Ruleset{netnsenv.NFTables(masquerade)},
	}
}

func masquerade(c *nftables.Conn) error {
	table := c.AddTable(&nftables.Table{Name: "nat", Family: nftables.TableFamilyIPv4})
	chain := c.AddChain(&nftables.Chain{
		Table: table, Name: "post", Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Register: 1, Data: []byte("tun1\x00")},
		&expr.Masq{},
	}})
	return c.Flush()
}

// Between a scripted client and a scripted server the host hides the client's address.
func TestRouterBetweenTwoScripts(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, natRouter())
	client := x.TCP("tun0", inject.Flow{Src: inside, Dst: outside})
	server := x.TCP("tun1", inject.Flow{Src: outside})
	x.Handshake(client, server)
	if got := server.Flow().Dst.Addr().String(); got != "203.0.113.1" {
		t.Errorf("the server sees %v", got)
	}
	client.Write([]byte("ping"))
	server.Expect(inject.Segment{Payload: []byte("ping")})
	server.Write([]byte("pong"))
	client.Expect(inject.Segment{Payload: []byte("pong"), Ack: new(uint32(5))})
	x.Teardown(client, server)
	client.ExpectNothing()
	x.ExpectNothing()
}

// The answer to a datagram and to an echo finds its way back through the router.
func TestRouterBetweenDatagrams(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, natRouter())
	client := x.UDP("tun0", inject.Flow{Src: inside, Dst: outside})
	server := x.UDP("tun1", inject.Flow{Src: outside})
	client.Send([]byte("question"))
	server.Expect([]byte("question"))
	server.Send([]byte("answer"))
	client.Expect([]byte("answer"))
	client.ExpectNothing()

	asks := x.Echo("tun0", inside.Addr(), outside.Addr())
	answers := x.Echo("tun1", outside.Addr(), netip.Addr{})
	asks.Ping([]byte("ping"))
	got := answers.ExpectRequest([]byte("ping"))
	answers.Reply()
	asks.ExpectReply([]byte("ping"))
	answers.ExpectNothing()
	if src := got.Tuple().Src.Addr(); src != server.Flow().Dst.Addr() || src == inside.Addr() {
		t.Errorf("the echo comes from %v, the datagram from %v", src, server.Flow().Dst)
	}

	x.Echo("tun0", inside.Addr(), netip.MustParseAddr("203.0.113.1")).Ping(nil) // the router itself
	x.Expect(inject.Want{Out: "tun0", ICMPType: new(uint8(0)), ICMPID: new(uint16(1)), Dst: netip.AddrPortFrom(inside.Addr(), 0)})
	x.ExpectNothing()
}

// An error from beyond the router reaches the client as if there were none in between.
func TestRouterTranslatesWhatAnErrorQuotes(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, natRouter())
	client := x.UDP("tun0", inject.Flow{Src: inside, Dst: outside})
	asked := client.Send(make([]byte, 1000))
	sent := x.Expect(inject.Want{Out: "tun1", Exactly: asked.With(inject.Src(netip.MustParseAddr("203.0.113.1")), inject.TTL(63))})

	beyond := netip.MustParseAddr("203.0.113.254")
	x.InjectBy("tun1", inject.Packets(inject.PacketTooBig(beyond, 576, sent)))
	x.Expect(inject.Want{
		Out: "tun0", Src: netip.AddrPortFrom(beyond, 0), Dst: netip.AddrPortFrom(inside.Addr(), 0), MTU: new(uint32(576)),
		About: &inject.Want{Src: inside, Dst: outside, Payload: sent[28:]},
	})
	x.ExpectNothing()
}

func prefixes(ps ...string) (out []netip.Prefix) {
	for _, p := range ps {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// A script may play in a goroutine of its own, with contexts and errors.
func TestScriptsPlaySideBySide(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, natRouter())
	server, err := x.Lab.TCP("tun1", inject.Flow{Src: outside})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		served <- func() error {
			if err := server.Accept(t.Context()); err != nil {
				return err
			}
			request, err := server.Read(t.Context(), len("request"))
			if err != nil {
				return err
			}
			if err := server.Write(t.Context(), append(request, " answered"...)); err != nil {
				return err
			}
			return server.Close(t.Context())
		}()
	}()
	client := x.TCP("tun0", inject.Flow{Src: inside, Dst: outside})
	client.Connect()
	client.Write([]byte("request"))
	if got := string(client.Read(-1)); got != "request answered" {
		t.Errorf("the client has read %q", got)
	}
	client.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// What the host sends in one burst that nobody reads has no room: that there was nothing else cannot be said.
func TestLostPacketsAreNotNothing(t *testing.T) {
	t.Parallel()
	for name, links := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := ctexp.New(t, netnsenv.Config{Links: links})
			c, err := x.Env.Dial(t.Context(), "udp", outside.String())
			if err != nil {
				t.Fatal(err)
			}
			for range 1000 {
				if _, err := c.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
			}
			rst := inject.Want{Flags: inject.FlagRST}
			if err := x.Inbox.ExpectNothing(t.Context(), rst); err == nil || !strings.Contains(err.Error(), "nobody read them in time") {
				t.Errorf("got %v", err)
			}
			x.ExpectNothing(rst) // it was said once
			x.Expect(inject.Want{Proto: nf.UDP})
		})
	}
}

// A handshake and a word each, with the host as router.
func BenchmarkConversation(b *testing.B) {
	lab, err := ctexp.Open(b.Context(), natRouter())
	ctexp.Require(b, "open", err)
	defer lab.Close()
	client, err := lab.TCP("tun0", inject.Flow{Src: inside, Dst: outside})
	if err != nil {
		b.Fatal(err)
	}
	server, err := lab.TCP("tun1", inject.Flow{Src: outside})
	if err != nil {
		b.Fatal(err)
	}
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		must(inject.Handshake(b.Context(), client, server))
		must(client.Write(b.Context(), []byte("ping")))
		_, err := server.Expect(b.Context(), inject.Segment{Payload: []byte("ping")})
		must(err)
		must(server.Reset(b.Context(), inject.ResetExact))
		_, err = client.Expect(b.Context(), inject.Segment{Flags: inject.FlagRST})
		must(err)
		client.Reuse()
		server.Reuse()
	}
}
