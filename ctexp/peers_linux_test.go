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
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/inject"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
)

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
			c.Expect(inject.Segment{Payload: []byte("world")})
			c.Ack()
			s.Close()
			c.Expect(inject.Segment{Flags: inject.FlagFIN | inject.FlagACK})
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
			server := x.TCP("tun0", inject.Flow{Src: outside})
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
	server := x.TCP("tun0", inject.Flow{Src: outside})
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
	peer := x.TCP("tun0", inject.Flow{Src: outside})
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
	if diff := ctexp.Diff(want, x.Life(inject.SYN(peer.Flow().Reverse()).Tuple())); diff != "" {
		t.Errorf("life (-want +got):\n%s", diff)
	}
}

// IPv6 and its noise.
func TestSocketDialsOverIPv6(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{Links: []netnsenv.LinkConfig{{
		Prefixes: prefixes("2001:db8::1/64"), Routes: prefixes("::/0"),
	}}})
	server := x.TCP("tun0", inject.Flow{Src: netip.MustParseAddrPort("[2001:db8::2]:80")})
	socket := server.AcceptDial()
	if _, err := socket.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	server.Expect(inject.Segment{Payload: []byte("hello")})
	server.Ack()
	asks := x.Echo("tun0", netip.MustParseAddr("2001:db8::3"), netip.MustParseAddr("2001:db8::1"))
	asks.Ping([]byte("ping"))
	asks.ExpectReply([]byte("ping"))
	x.ExpectNothing()
}

// A socket that has found somebody else is not this script's.
func TestAcceptDialOfAnotherServerSaysSo(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{})
	if _, err := x.Env.Listen(t.Context(), "tcp", "192.0.2.1:80"); err != nil {
		t.Fatal(err)
	}
	x.Inbox.Patience = time.Second
	server, err := x.Lab.TCP("tun0", inject.Flow{Src: netip.MustParseAddrPort("192.0.2.1:80")})
	if err != nil {
		t.Fatal(err)
	}
	const want = "the socket is connected to 192.0.2.1:80 all the same, but not by this script"
	if socket, err := x.Lab.AcceptDial(t.Context(), server); socket != nil || err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, %v", socket, err)
	}
}

// Who gives up takes the dialing socket with him.
func TestAcceptDialEndsWithItsContext(t *testing.T) {
	t.Parallel()
	x := ctexp.New(t, netnsenv.Config{})
	server, err := x.Lab.TCP("tun0", inject.Flow{Src: outside})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if socket, err := x.Lab.AcceptDial(ctx, server); socket != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v", socket, err)
	}
}
