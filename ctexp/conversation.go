package ctexp

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/ctexp/go-ctexp/ctexp/inject"
)

// TCP is an inject.TCPPeer for a test: what it cannot do, or what is not as it expects, fails the test, with a table of
// what was wanted and what there was, and with every packet that came.
//
// What the methods do says inject.TCPPeer.
type TCP struct {
	*inject.TCPPeer
	script
}

// TCP returns an end of a TCP connection behind a link. The source of the flow is its own address; a server leaves the
// destination zero, which is then whoever comes, as he looks behind any NAT.
//
//	client := x.TCP("tun0", inject.Flow{Src: inside, Dst: outside})
//	server := x.TCP("tun1", inject.Flow{Src: outside})
func (x *Experiment) TCP(link string, f inject.Flow) *TCP {
	x.t.Helper()
	peer := ask(x, "TCP", func(context.Context) (*inject.TCPPeer, error) { return x.Lab.TCP(link, f) })
	return &TCP{peer, script{x, fmt.Sprintf("TCP at %v", f.Src)}}
}

// Handshake opens a connection between two ends, with the host as router between them; see inject.Handshake.
func (x *Experiment) Handshake(client, server *TCP) {
	x.t.Helper()
	if client == nil || server == nil {
		panic("ctexp: Handshake of a nil TCP")
	}
	x.do("Handshake", func(ctx context.Context) error { return inject.Handshake(ctx, client.TCPPeer, server.TCPPeer) })
}

// Teardown closes a connection between two ends, first the direction of the first one; see inject.Teardown.
func (x *Experiment) Teardown(first, second *TCP) {
	x.t.Helper()
	if first == nil || second == nil {
		panic("ctexp: Teardown of a nil TCP")
	}
	x.do("Teardown", func(ctx context.Context) error { return inject.Teardown(ctx, first.TCPPeer, second.TCPPeer) })
}

// Connect opens a connection; see inject.TCPPeer.Connect.
func (c *TCP) Connect() { c.t().Helper(); c.step("Connect", c.TCPPeer.Connect) }

// Accept lets somebody connect; see inject.TCPPeer.Accept.
func (c *TCP) Accept() { c.t().Helper(); c.step("Accept", c.TCPPeer.Accept) }

// AcceptDial has a socket of the host dial this end, lets it connect and returns it; see Lab.AcceptDial.
func (c *TCP) AcceptDial() net.Conn {
	c.t().Helper()
	return get(c.script, "AcceptDial", func(ctx context.Context) (net.Conn, error) { return c.x.Lab.AcceptDial(ctx, c.TCPPeer) })
}

// SimultaneousOpen opens a connection from both ends; see inject.TCPPeer.SimultaneousOpen.
func (c *TCP) SimultaneousOpen() {
	c.t().Helper()
	c.step("SimultaneousOpen", c.TCPPeer.SimultaneousOpen)
}

// Send sends a segment and returns it; see inject.TCPPeer.Send.
func (c *TCP) Send(s inject.Segment) inject.Packet {
	c.t().Helper()
	return get(c.script, "Send", func(ctx context.Context) (inject.Packet, error) { return c.TCPPeer.Send(ctx, s) })
}

// Expect takes the next segment, which must be as s says; see inject.TCPPeer.Expect.
func (c *TCP) Expect(s inject.Segment) inject.Packet {
	c.t().Helper()
	return get(c.script, "Expect", func(ctx context.Context) (inject.Packet, error) { return c.TCPPeer.Expect(ctx, s) })
}

// ExpectAck waits until all that was sent is acknowledged; see inject.TCPPeer.ExpectAck.
func (c *TCP) ExpectAck() { c.t().Helper(); c.step("ExpectAck", c.TCPPeer.ExpectAck) }

// ExpectNothing fails the test if there is an unread segment; see inject.TCPPeer.ExpectNothing.
func (c *TCP) ExpectNothing() { c.t().Helper(); c.step("ExpectNothing", c.TCPPeer.ExpectNothing) }

// Write sends data and waits for nothing; see inject.TCPPeer.Write.
func (c *TCP) Write(data []byte) {
	c.t().Helper()
	c.step("Write", func(ctx context.Context) error { return c.TCPPeer.Write(ctx, data) })
}

// Read returns the next n bytes, with n < 0 all until the other end closes; see inject.TCPPeer.Read.
func (c *TCP) Read(n int) []byte {
	c.t().Helper()
	return get(c.script, "Read", func(ctx context.Context) ([]byte, error) { return c.TCPPeer.Read(ctx, n) })
}

// Ack acknowledges all that was taken; see inject.TCPPeer.Ack.
func (c *TCP) Ack() { c.t().Helper(); c.step("Ack", c.TCPPeer.Ack) }

// Fin closes this direction; see inject.TCPPeer.Fin.
func (c *TCP) Fin() { c.t().Helper(); c.step("Fin", c.TCPPeer.Fin) }

// Close closes both directions, with another end that answers by itself; see inject.TCPPeer.Close and, for two scripts, Teardown.
func (c *TCP) Close() { c.t().Helper(); c.step("Close", c.TCPPeer.Close) }

// Retransmit sends the last segment again that had data, SYN or FIN; see inject.TCPPeer.Retransmit.
func (c *TCP) Retransmit() { c.t().Helper(); c.step("Retransmit", c.TCPPeer.Retransmit) }

// Reset sends an RST; see inject.TCPPeer.Reset.
func (c *TCP) Reset(kind inject.ResetKind) {
	c.t().Helper()
	c.step("Reset", func(ctx context.Context) error { return c.TCPPeer.Reset(ctx, kind) })
}

// UDP is an inject.UDPPeer for a test, as TCP is an inject.TCPPeer.
type UDP struct {
	*inject.UDPPeer
	script
}

// UDP returns an end of a conversation over UDP behind a link. A server leaves the destination of the flow zero.
func (x *Experiment) UDP(link string, f inject.Flow) *UDP {
	x.t.Helper()
	peer := ask(x, "UDP", func(context.Context) (*inject.UDPPeer, error) { return x.Lab.UDP(link, f) })
	return &UDP{peer, script{x, fmt.Sprintf("UDP at %v", f.Src)}}
}

// Send sends a datagram and returns it.
func (u *UDP) Send(payload []byte) inject.Packet {
	u.t().Helper()
	return get(u.script, "Send", func(ctx context.Context) (inject.Packet, error) { return u.UDPPeer.Send(ctx, payload) })
}

// Expect takes the next datagram, which must have that payload (nil: any); see inject.UDPPeer.Expect.
func (u *UDP) Expect(payload []byte) inject.Packet {
	u.t().Helper()
	return get(u.script, "Expect", func(ctx context.Context) (inject.Packet, error) { return u.UDPPeer.Expect(ctx, payload) })
}

// ExpectNothing fails the test if there is an unread datagram.
func (u *UDP) ExpectNothing() { u.t().Helper(); u.step("ExpectNothing", u.UDPPeer.ExpectNothing) }

// Echo is an inject.EchoPeer for a test, as TCP is an inject.TCPPeer.
type Echo struct {
	*inject.EchoPeer
	script
}

// Echo returns an end of a conversation over ICMP echo behind a link. One that only answers leaves dst zero.
func (x *Experiment) Echo(link string, src, dst netip.Addr) *Echo {
	x.t.Helper()
	peer := ask(x, "Echo", func(context.Context) (*inject.EchoPeer, error) { return x.Lab.Echo(link, src, dst) })
	return &Echo{peer, script{x, fmt.Sprintf("echo at %v", src)}}
}

// Ping sends an echo request and returns it.
func (e *Echo) Ping(payload []byte) inject.Packet {
	e.t().Helper()
	return get(e.script, "Ping", func(ctx context.Context) (inject.Packet, error) { return e.EchoPeer.Ping(ctx, payload) })
}

// ExpectReply takes the next echo message, which must answer the last request with that payload (nil: any).
func (e *Echo) ExpectReply(payload []byte) inject.Packet {
	e.t().Helper()
	return get(e.script, "ExpectReply", func(ctx context.Context) (inject.Packet, error) {
		return e.EchoPeer.ExpectReply(ctx, payload)
	})
}

// ExpectRequest takes the next echo message, which must be a request with that payload (nil: any).
func (e *Echo) ExpectRequest(payload []byte) inject.Packet {
	e.t().Helper()
	return get(e.script, "ExpectRequest", func(ctx context.Context) (inject.Packet, error) {
		return e.EchoPeer.ExpectRequest(ctx, payload)
	})
}

// Reply answers the last request that was taken, and returns the answer.
func (e *Echo) Reply() inject.Packet {
	e.t().Helper()
	return get(e.script, "Reply", e.EchoPeer.Reply)
}

// ExpectNothing fails the test if there is an unread echo message.
func (e *Echo) ExpectNothing() { e.t().Helper(); e.step("ExpectNothing", e.EchoPeer.ExpectNothing) }

// script is who a peer plays for, and as whom.
type script struct {
	x   *Experiment
	who string
}

func (s script) t() TB { return s.x.t }

func (s script) step(what string, f func(context.Context) error) {
	s.x.t.Helper()
	s.x.do(s.who+": "+what, f)
}

// get is step for an operation with a result.
func get[T any](s script, what string, f func(context.Context) (T, error)) T {
	s.x.t.Helper()
	var result T
	s.step(what, func(ctx context.Context) (err error) {
		result, err = f(ctx)
		return err
	})
	return result
}
