package netnsenv_test

import (
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/needs"
)

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func end(routes []netip.Prefix, addresses ...string) netnsenv.LinkConfig {
	return netnsenv.LinkConfig{Prefixes: prefixes(addresses...), Routes: routes}
}

// noLinks is a host that has only wires.
var noLinks = netnsenv.Config{Links: []netnsenv.LinkConfig{}}

// join joins two Envs or ends the test.
func join(t testing.TB, a, b *netnsenv.Env, w netnsenv.Wire) {
	t.Helper()
	if err := netnsenv.Join(t.Context(), a, b, w); err != nil {
		t.Fatal(err)
	}
}

// threeHosts opens a router with a link, a second router behind it and a server behind that. If steered, the latter two
// move packets to other CPUs.
func threeHosts(t testing.TB, kind netnsenv.LinkKind, steered bool) (a, b, c *netnsenv.Env) {
	t.Helper()
	near := map[string]string{"net.ipv4.ip_forward": "1"}
	far := maps.Clone(near)
	if steered {
		maps.Copy(far, steer(t, allCPUs()))
	}
	a = open(t, netnsenv.Config{
		Links: []netnsenv.LinkConfig{{Kind: kind, Prefixes: prefixes("198.18.0.1/24")}}, Sysctls: near, NoPath: true,
	})
	b, err := netnsenv.Open(t.Context(), netnsenv.Config{Links: []netnsenv.LinkConfig{}, Sysctls: far, NoPath: true})
	needs.Check(t, err)
	t.Cleanup(func() { b.Close() })
	c = open(t, netnsenv.Config{Links: []netnsenv.LinkConfig{}, Sysctls: far, NoPath: true})
	join(t, a, b, netnsenv.Wire{A: end(prefixes("10.0.2.0/24"), "10.0.1.1/24"), B: end(prefixes("198.18.0.0/24"), "10.0.1.2/24")})
	join(t, b, c, netnsenv.Wire{A: end(nil, "10.0.2.1/24"), B: end(prefixes("0.0.0.0/0"), "10.0.2.2/24")})
	return a, b, c
}

// After each fence the server at the far end has received every packet sent before, and its replies have arrived at the
// near end: on both kinds of link, with every CPU busy, and with packets steered to other CPUs, where none has been
// processed when the write returns. CTEXP_TRIES=100000 tries more often.
func TestFenceIsFinalAcrossWires(t *testing.T) {
	stop := keepBusy(t)
	defer stop()
	for _, kind := range kinds {
		for _, steered := range []bool{false, true} {
			t.Run(kind.String()+map[bool]string{true: "/rps"}[steered], func(t *testing.T) {
				a, _, c := threeHosts(t, kind, steered)
				const burst = 40
				short, unanswered := 0, 0
				n := min(tries(75), 100_000/burst) // of 40 packets each
				buf := make([]byte, 1500)
				for i := range n {
					send(t, a, echoes(burst, i*burst)...)
					for range burst { // first of all, because it is quick
						if _, err := a.Links()[0].ReadNow(buf); err != nil {
							unanswered++
							break
						}
					}
					if count(t, c) < (i+1)*burst {
						short++
					}
				}
				if short+unanswered > 0 {
					t.Errorf("of %d fences the far table was short after %d, the answer not back after %d", n, short, unanswered)
				}
			})
		}
	}
}

// echoes returns n echo requests to the far end from many clients, each a separate flow, numbered from first on.
func echoes(n, first int) (packets []packet.Packet) {
	for i := range n {
		id := first + i
		src := netip.AddrFrom4([4]byte{198, 18, 0, byte(2 + id%200)})
		packets = append(packets, packet.Echo(src, netip.MustParseAddr("10.0.2.2"), uint16(id/200), 1, nil))
	}
	return packets
}

// Sockets and net/http work between two Envs, both of which track the connection.
func TestJoinedEnvsTalk(t *testing.T) {
	t.Parallel()
	client, server := open(t, noLinks), open(t, noLinks)
	join(t, client, server, netnsenv.Wire{A: end(nil, "10.0.0.1/24", "2001:db8::1/64"), B: end(nil, "10.0.0.2/24", "2001:db8::2/64")})
	for _, address := range []string{"10.0.0.2:80", "[2001:db8::2]:80"} {
		l, err := server.Listen(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			host, _, _ := net.SplitHostPort(r.RemoteAddr)
			io.WriteString(w, strings.Repeat(host+"\n", 10000))
		})}
		go srv.Serve(l)
		defer srv.Close()
		transport := &http.Transport{DialContext: client.Dial}
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport}).Get("http://" + address)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		first, _, _ := strings.Cut(string(body), "\n")
		if err != nil || len(body) != 10000*(len(first)+1) || first != "10.0.0.1" && first != "2001:db8::1" {
			t.Errorf("%s: %d bytes from %q, %v", address, len(body), first, err)
		}
	}
	if n, m := count(t, client), count(t, server); n != 2 || m != 2 {
		t.Errorf("%d entries at the client, %d at the server, want 2 each", n, m)
	}
}

// The ends of a wire with ARP find each other, and the fence waits for that.
func TestWireWithARP(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		a := open(t, netnsenv.Config{
			Links:   []netnsenv.LinkConfig{{Kind: kind, Prefixes: prefixes("198.18.0.1/24")}},
			Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
		})
		b := open(t, noLinks)
		wire := netnsenv.Wire{A: end(nil, "10.0.2.1/24"), B: end(prefixes("0.0.0.0/0"), "10.0.2.2/24")}
		wire.A.ARP, wire.B.ARP = true, true
		join(t, a, b, wire)
		send(t, a, echoes(1, 0)...)
		if n, err := a.Links()[0].ReadNow(make([]byte, 1500)); err != nil {
			t.Errorf("%v: no answer: %d, %v", kind, n, err)
		}
	}
}

// The fence returns even if others keep sending over the wire.
func TestFenceEndsWhileOthersSend(t *testing.T) {
	t.Parallel()
	a, _, c := threeHosts(t, netnsenv.Auto, false)
	out, err := c.Dial(t.Context(), "udp", "10.0.1.1:9")
	if err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = out.Write([]byte("and so on")) // refused once in a while: nobody listens
			}
		}
	}()
	for range 3 {
		send(t, a, echoes(1, 0)...)
	}
	close(stop)
	<-stopped
}

// Closing either Env deletes the wire. The other one can be joined again with the same name.
func TestWireIsDeletedWithEitherEnv(t *testing.T) {
	t.Parallel()
	a := open(t, netnsenv.Config{Silent: true})
	wire := netnsenv.Wire{A: end(nil, "10.0.0.1/24"), B: end(nil, "10.0.0.2/24")}
	wire.A.Name, wire.B.Name = "up", "down"
	for range 3 {
		b, err := netnsenv.Open(t.Context(), noLinks)
		if err != nil {
			t.Fatal(err)
		}
		join(t, a, b, wire)
		if !hasLink(t, a, "up") || !hasLink(t, b, "down") {
			t.Error("the wire is not there")
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if hasLink(t, a, "up") {
			t.Error("the wire is still there")
		}
		sendSYNs(t, a, 1)
	}
	b := open(t, noLinks)
	join(t, b, a, wire)
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if hasLink(t, b, "up") {
		t.Error("the wire is still there when its other end is gone")
	}
}

func hasLink(t testing.TB, e *netnsenv.Env, name string) bool {
	t.Helper()
	var names []string
	err := e.Do(func() error {
		all, err := net.Interfaces()
		for _, i := range all {
			names = append(names, i.Name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return slices.Contains(names, name)
}

func TestInvalidWires(t *testing.T) {
	t.Parallel()
	a, b, closed := open(t, netnsenv.Config{}), open(t, noLinks), open(t, noLinks)
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	good := func(change func(*netnsenv.Wire)) netnsenv.Wire {
		w := netnsenv.Wire{A: end(nil, "10.0.0.1/24"), B: end(nil, "10.0.0.2/24")}
		change(&w)
		return w
	}
	for _, tt := range []struct {
		wire netnsenv.Wire
		to   *netnsenv.Env
		want string
	}{
		{good(func(w *netnsenv.Wire) { w.A.Name = "tun0" }), b, `join: A: link "tun0": the name is taken`},
		{good(func(w *netnsenv.Wire) { w.B.Name = "lo" }), b, `join: B: link "lo": the name is taken`},
		{good(func(w *netnsenv.Wire) { w.A.Name = "a/b" }), b, `join: A: link "a/b": not a valid name for an interface`},
		{good(func(w *netnsenv.Wire) { w.A.MTU = 20 }), b, `join: A: link "wire0": MTU 20: want 68 to 65535`},
		{good(func(w *netnsenv.Wire) { w.B.Kind = netnsenv.Tun }), b, `join: B: link "wire0": kind tun: a wire is a pair of veth`},
		{good(func(w *netnsenv.Wire) { w.B.Prefixes = nil }), b, `join: B: link "wire0": it has no prefix: want an address for the end of a wire`},
		{good(func(w *netnsenv.Wire) { w.A.Routes = prefixes("::/0") }), b, `join: A: link "wire0": route ::/0: the other end has no address in the networks [10.0.0.1/24]`},
		{good(func(w *netnsenv.Wire) { w.A.Routes = prefixes("192.0.2.0/24") }), b, `add route 192.0.2.0/24: netlink receive: file exists`},
		{good(func(w *netnsenv.Wire) { w.B.Prefixes = w.A.Prefixes }), b, `join: B: link "wire0": address 10.0.0.1 is that of A: give each end its own`},
		{good(func(w *netnsenv.Wire) { w.B.Port.Of = "br0" }), b, `join: B: link "": port of "br0": there is no such device in Config.Devices`},
		{good(func(*netnsenv.Wire) {}), a, "join: both ends are in the same Env"},
		{good(func(*netnsenv.Wire) {}), nil, "join: B: the Env is nil"},
	} {
		if err := netnsenv.Join(t.Context(), a, tt.to, tt.wire); err == nil || !strings.HasSuffix(err.Error(), tt.want) {
			t.Errorf("got  %v\nwant %s", err, tt.want)
		}
	}
	err := netnsenv.Join(t.Context(), a, closed, good(func(*netnsenv.Wire) {}))
	if !errors.Is(err, netnsenv.ErrClosed) || !strings.HasPrefix(err.Error(), "join: B: ") {
		t.Errorf("to a closed Env: %v", err)
	}
	if hasLink(t, a, "wire0") || hasLink(t, b, "wire0") {
		t.Error("a wire that was refused is there")
	}
}

func BenchmarkJoin(b *testing.B) {
	a := open(b, noLinks)
	for b.Loop() {
		e, err := netnsenv.Open(b.Context(), noLinks)
		if err != nil {
			b.Fatal(err)
		}
		join(b, a, e, netnsenv.Wire{A: end(nil, "10.0.0.1/24"), B: end(nil, "10.0.0.2/24")})
		e.Close()
	}
}

func BenchmarkFenceAcrossWires(b *testing.B) {
	a, _, _ := threeHosts(b, netnsenv.Auto, false)
	for b.Loop() {
		if err := a.Links()[0].Fence(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
