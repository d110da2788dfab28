package ctexp_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/ctexp/peer"
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
	client := x.TCP("tun0", packet.Flow{Src: inside, Dst: outside})
	server := x.TCP("tun1", packet.Flow{Src: outside})
	x.Handshake(client, server)
	if got := server.Flow().Dst.Addr().String(); got != "203.0.113.1" {
		t.Errorf("the server sees %v", got)
	}
	client.Write([]byte("ping"))
	server.Expect(peer.Segment{Payload: []byte("ping")})
	server.Write([]byte("pong"))
	client.Expect(peer.Segment{Payload: []byte("pong"), Ack: new(uint32(5))})
	x.Teardown(client, server)
	client.ExpectNothing()
	x.ExpectNothing()
}

// The answer to a datagram and to an echo finds its way back through the router.
func TestRouterBetweenDatagrams(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, natRouter())
	client := x.UDP("tun0", packet.Flow{Src: inside, Dst: outside})
	server := x.UDP("tun1", packet.Flow{Src: outside})
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
	x.Expect(packet.Match{Out: "tun0", ICMPType: new(uint8(0)), ICMPID: new(uint16(1)), Dst: netip.AddrPortFrom(inside.Addr(), 0)})
	x.ExpectNothing()
}

// An error from beyond the router reaches the client as if there were none in between.
func TestRouterTranslatesWhatAnErrorQuotes(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, natRouter())
	client := x.UDP("tun0", packet.Flow{Src: inside, Dst: outside})
	asked := client.Send(make([]byte, 1000))
	sent := x.Expect(packet.Match{Out: "tun1", Exactly: asked.With(packet.Src(netip.MustParseAddr("203.0.113.1")), packet.TTL(63))})

	beyond := netip.MustParseAddr("203.0.113.254")
	x.InjectOn("tun1", packet.Packets(packet.PacketTooBig(beyond, 576, sent)))
	x.Expect(packet.Match{
		Out: "tun0", Src: netip.AddrPortFrom(beyond, 0), Dst: netip.AddrPortFrom(inside.Addr(), 0), MTU: new(uint32(576)),
		About: &packet.Match{Src: inside, Dst: outside, Payload: sent[28:]},
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
	server, err := x.Lab.TCP("tun1", packet.Flow{Src: outside})
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
	client := x.TCP("tun0", packet.Flow{Src: inside, Dst: outside})
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

// If the host's answers overflow an unread Inbox, an expectation of nothing cannot be decided and fails.
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
			rst := packet.Match{Flags: packet.FlagRST}
			if err := x.Inbox.ExpectNothing(t.Context(), rst); err == nil || !strings.Contains(err.Error(), "they were not read in time") {
				t.Errorf("got %v", err)
			}
			x.ExpectNothing(rst) // it was said once
			x.Expect(packet.Match{Proto: nf.UDP})
		})
	}
}

// A handshake and a word each, with the host as router.
func BenchmarkConversation(b *testing.B) {
	lab, err := ctexp.Open(b.Context(), natRouter())
	ctexp.Require(b, "open", err)
	defer lab.Close()
	client, err := lab.TCP("tun0", packet.Flow{Src: inside, Dst: outside})
	if err != nil {
		b.Fatal(err)
	}
	server, err := lab.TCP("tun1", packet.Flow{Src: outside})
	if err != nil {
		b.Fatal(err)
	}
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		must(peer.Handshake(b.Context(), client, server))
		must(client.Write(b.Context(), []byte("ping")))
		_, err := server.Expect(b.Context(), peer.Segment{Payload: []byte("ping")})
		must(err)
		must(server.Reset(b.Context(), peer.ResetExact))
		_, err = client.Expect(b.Context(), peer.Segment{Flags: packet.FlagRST})
		must(err)
		client.Reuse()
		server.Reuse()
	}
}

// A scripted client speaks with a real socket of the host: what was negotiated is kept, data goes both ways.
func TestScriptedClientSpeaksWithASocket(t *testing.T) {
	t.Parallel()
	for name, links := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := ctexp.New(t, netnsenv.Config{Links: links})
			l, err := x.Env.Listen(t.Context(), "tcp", "192.0.2.1:80")
			if err != nil {
				t.Fatal(err)
			}
			c := x.TCP("tun0", web)
			c.MSS, c.Scale, c.SACK, c.Timestamps = 1000, new(uint8(7)), true, true
			c.Connect()
			s, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			c.Write([]byte("hello"))
			c.ExpectAck()
			if got, err := io.ReadAll(io.LimitReader(s, 5)); string(got) != "hello" || err != nil {
				t.Errorf("the host has read %q, %v", got, err)
			}
			if _, err := s.Write([]byte("world")); err != nil {
				t.Fatal(err)
			}
			c.Expect(peer.Segment{Payload: []byte("world")})
			c.Ack()
			s.Close()
			c.Expect(peer.Segment{Flags: packet.FlagFIN | packet.FlagACK})
			c.Close()
			c.ExpectNothing()
		})
	}
}

var kinds = map[string][]netnsenv.LinkConfig{"auto": nil, "veth": veth}

// A socket of the host dials a scripted server, which keeps the connection half open: the host has closed its direction
// and still receives.
func TestSocketDialsAScriptedServer(t *testing.T) {
	t.Parallel()
	for name, links := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := ctexp.New(t, netnsenv.Config{Links: links})
			server := x.TCP("tun0", packet.Flow{Src: outside})
			server.MSS, server.Timestamps = 1200, true
			socket := server.AcceptDial()
			if _, err := socket.Write([]byte("request")); err != nil {
				t.Fatal(err)
			}
			if err := socket.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if got := string(server.Read(-1)); got != "request" {
				t.Errorf("the server has read %q", got)
			}
			server.Write([]byte("late answer"))
			server.ExpectAck()
			server.Close()
			if got, err := io.ReadAll(socket); string(got) != "late answer" || err != nil {
				t.Errorf("the host has read %q, %v", got, err)
			}
			if got := server.Learnt(); got.MSS != 1460 || !got.Timestamps || !got.SACK || !got.HasScale {
				t.Errorf("learnt %+v", got)
			}
		})
	}
}

// A page of net/http, served inside, and read by a script, segment by segment.
func TestScriptedClientGetsAPage(t *testing.T) {
	t.Parallel()
	for name, links := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := ctexp.New(t, netnsenv.Config{Links: links})
			l, err := x.Env.Listen(t.Context(), "tcp", "192.0.2.1:80")
			if err != nil {
				t.Fatal(err)
			}
			page := strings.Repeat("0123456789", 2000)
			server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, page+" for "+r.RemoteAddr)
			})}
			var wg sync.WaitGroup
			t.Cleanup(wg.Wait)
			t.Cleanup(func() { server.Close() })
			wg.Go(func() { server.Serve(l) })

			c := x.TCP("tun0", web)
			c.MSS = 1000
			c.Connect()
			c.Write([]byte("GET / HTTP/1.1\r\nHost: ctexp\r\nConnection: close\r\n\r\n"))
			response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(c.Read(-1))), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			if want := page + " for 198.18.0.2:10000"; string(body) != want || err != nil {
				t.Errorf("got %d bytes, %v, want %d", len(body), err, len(want))
			}
			c.Close()
		})
	}
}

// A client of net/http inside gets its page from a script.
func TestScriptedServerServesAPage(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{})
	server := x.TCP("tun0", packet.Flow{Src: outside})
	client := http.Client{Transport: &http.Transport{DialContext: x.Env.Dial, DisableKeepAlives: true}}
	got := make(chan string, 1)
	go func() {
		response, err := client.Get("http://203.0.113.80/page")
		if err != nil {
			got <- err.Error()
			return
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		got <- string(body)
	}()
	server.Accept()
	const line = "GET /page HTTP/1.1\r\n"
	if request := string(server.Read(len(line))); request != line {
		t.Errorf("the server has read %q", request)
	}
	server.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
	if page := <-got; page != "hello" {
		t.Errorf("the client has got %q", page)
	}
}

// Both ends open at once (RFC 9293, 3.5): the host's SYN and the script's cross.
func TestSimultaneousOpen(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{})
	peer := x.TCP("tun0", packet.Flow{Src: outside})
	dialed := make(chan error, 1)
	go func() {
		_, err := x.Env.Dial(t.Context(), "tcp", outside.String())
		dialed <- err
	}()
	peer.SimultaneousOpen()
	if err := <-dialed; err != nil {
		t.Errorf("the host's socket: %v", err)
	}
	peer.ExpectNothing()
	want := []string{"NEW SYN_SENT", "UPDATE SYN_SENT2", "UPDATE SYN_RECV", "UPDATE ESTABLISHED [ASSURED]"}
	if diff := ctexp.Diff(want, x.Life(packet.SYN(peer.Flow().Reverse()).Tuple())); diff != "" {
		t.Errorf("life (-want +got):\n%s", diff)
	}
}

// IPv6 and its noise.
func TestSocketDialsOverIPv6(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Links: []netnsenv.LinkConfig{{
		Prefixes: prefixes("2001:db8::1/64"), Routes: prefixes("::/0"),
	}}})
	server := x.TCP("tun0", packet.Flow{Src: netip.MustParseAddrPort("[2001:db8::2]:80")})
	socket := server.AcceptDial()
	if _, err := socket.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	server.Expect(peer.Segment{Payload: []byte("hello")})
	server.Ack()
	asks := x.Echo("tun0", netip.MustParseAddr("2001:db8::3"), netip.MustParseAddr("2001:db8::1"))
	asks.Ping([]byte("ping"))
	asks.ExpectReply([]byte("ping"))
	x.ExpectNothing()
}

// A socket that has connected to another peer is not returned to this script.
func TestAcceptDialOfAnotherServerSaysSo(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{})
	if _, err := x.Env.Listen(t.Context(), "tcp", "192.0.2.1:80"); err != nil {
		t.Fatal(err)
	}
	x.Inbox.Patience = time.Second
	server, err := x.Lab.TCP("tun0", packet.Flow{Src: netip.MustParseAddrPort("192.0.2.1:80")})
	if err != nil {
		t.Fatal(err)
	}
	const want = "the socket is connected to 192.0.2.1:80 nevertheless, but not to this script"
	if socket, err := x.Lab.AcceptDial(t.Context(), server); socket != nil || err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, %v", socket, err)
	}
}

// Who gives up takes the dialing socket with him.
func TestAcceptDialEndsWithItsContext(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{})
	server, err := x.Lab.TCP("tun0", packet.Flow{Src: outside})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if socket, err := x.Lab.AcceptDial(ctx, server); socket != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v", socket, err)
	}
}

// A connection that was accepted and is not referred to any more stays open: package net closes what is garbage.
func TestAcceptedConnectionStaysOpen(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{})
	l, err := x.Env.Listen(t.Context(), "tcp", "192.0.2.1:80")
	ctexp.Require(t, "listen", err)
	client := x.TCP("tun0", packet.Flow{Src: inside, Dst: netip.MustParseAddrPort("192.0.2.1:80")})
	client.Connect()
	_, err = l.Accept()
	ctexp.Require(t, "accept", err)
	flow := client.Flow().Tuple(nf.TCP)
	before := x.Flow(flow).Brief()
	collected := make(chan struct{})
	runtime.SetFinalizer(new([64]byte), func(*[64]byte) { close(collected) })

	for done := false; !done; {
		runtime.GC()
		select {
		case <-collected:
			done = true
		default:
		}
	}

	if after := x.Flow(flow).Brief(); after != before {
		t.Errorf("%s, after a garbage collection %s", before, after)
	}
	client.ExpectNothing()
	if _, ok := l.(*netnsenv.Listener); !ok {
		t.Errorf("the listener is a %T", l)
	}
}
