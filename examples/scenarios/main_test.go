package scenarios

import (
	"io"
	"iter"
	"net"
	"net/netip"
	"testing"

	"github.com/ctexp/go-ctexp/ctexp"
	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

func TestMain(m *testing.M) { ctexp.Main(m) }

// Whoever speaks in a scenario. A router has the client's network on its link "client" and the server's on "server".
var (
	host4, host6     = addr("192.0.2.1"), addr("2001:db8::1")        // the host of host()
	remote4, remote6 = addr("198.18.0.2"), addr("2001:db8:ffff::2")  // somebody far away from it
	client4, client6 = addr("10.0.1.99"), addr("2001:db8:1::99")     // behind a router
	server4, server6 = addr("198.51.100.99"), addr("2001:db8:2::99") // on the router's other side
	inner4, inner6   = addr("10.0.1.1"), addr("2001:db8:1::1")       // the router's own, to the client
	outer4, outer6   = addr("198.51.100.1"), addr("2001:db8:2::1")   // the router's own, to the server
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// flow is a flow from one address and port to another.
func flow(src netip.Addr, sport uint16, dst netip.Addr, dport uint16) packet.Flow {
	return packet.Flow{Src: netip.AddrPortFrom(src, sport), Dst: netip.AddrPortFrom(dst, dport)}
}

// host is a single host with a link to everywhere, IPv4 and IPv6.
func host(rules ...netnsenv.Ruleset) netnsenv.Config {
	return netnsenv.Config{
		Links: []netnsenv.LinkConfig{{
			Name:     "tun0",
			Prefixes: []netip.Prefix{netip.PrefixFrom(host4, 24), netip.PrefixFrom(host6, 64)},
			Routes:   []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")},
		}},
		Rules: rules,
	}
}

// router is a host that forwards between the links "client" and "server" and has nothing to say itself.
func router(rules ...netnsenv.Ruleset) netnsenv.Config {
	return netnsenv.Config{
		Links: []netnsenv.LinkConfig{
			{Name: "client", Prefixes: []netip.Prefix{netip.PrefixFrom(inner4, 24), netip.PrefixFrom(inner6, 64)}},
			{Name: "server", Prefixes: []netip.Prefix{netip.PrefixFrom(outer4, 24), netip.PrefixFrom(outer6, 64)}},
		},
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"},
		Silent:  true,
		Rules:   rules,
	}
}

// ping is an echo request from far away to the host, one of 65536 that belong to different flows.
func ping(n int) packet.Packet { return packet.Echo(remote4, host4, uint16(n), 1, nil) }

// pings are n of them.
func pings(n int) iter.Seq[packet.Packet] {
	return func(yield func(packet.Packet) bool) {
		for i := range n {
			if !yield(ping(i)) {
				return
			}
		}
	}
}

// dialing connects a socket of the host, which its peer has to answer before the result gives it.
func dialing(t *testing.T, x *ctexp.Experiment, network string, to netip.AddrPort) func() net.Conn {
	t.Helper()
	var c net.Conn
	done := make(chan error, 1)
	go func() {
		var err error
		c, err = x.Env.Dial(t.Context(), network, to.String())
		done <- err
	}()
	return func() net.Conn {
		t.Helper()
		ctexp.Require(t, "dial", <-done)
		return c
	}
}

// read returns the next n bytes that a socket of the host receives.
func read(t *testing.T, c net.Conn, n int) string {
	t.Helper()
	if deadline, ok := t.Deadline(); ok {
		ctexp.Require(t, "read", c.SetReadDeadline(deadline))
	}
	b := make([]byte, n)
	_, err := io.ReadFull(c, b)
	ctexp.Require(t, "read", err)
	return string(b)
}

// write sends by a socket of the host.
func write(t *testing.T, c net.Conn, s string) {
	t.Helper()
	_, err := io.WriteString(c, s)
	ctexp.Require(t, "write", err)
}

// dropInvalid drops INVALID packets in input and output, and invalidProbes count them there.
var (
	dropInvalid = table(
		filterAt(nf.Input, nf.PriorityFilter, when(state(nf.StateInvalid), drop())),
		filterAt(nf.Output, nf.PriorityFilter, when(state(nf.StateInvalid), drop())))
	invalidProbes = []nf.Probe{
		{Name: "invalid in", Hook: nf.Input, Priority: nf.PriorityFilter - 1, State: nf.StateInvalid},
		{Name: "invalid out", Hook: nf.Output, Priority: nf.PriorityFilter - 1, State: nf.StateInvalid},
	}
)
