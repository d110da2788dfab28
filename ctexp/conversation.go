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
	end
}

// TCP returns an end of a TCP connection behind a link. The source of the flow is its own address; a server leaves the
// destination zero, which is then whoever comes, as he looks behind any NAT.
//
//	client := x.TCP("tun0", inject.Flow{Src: inside, Dst: outside})
//	server := x.TCP("tun1", inject.Flow{Src: outside})
func (x *Experiment) TCP(link string, f inject.Flow) *TCP {
	x.t.Helper()
	peer := ask(x, "TCP", func(context.Context) (*inject.TCPPeer, error) { return x.Lab.TCP(link, f) })
	return &TCP{peer, end{x, fmt.Sprintf("TCP at %v", f.Src)}}
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
func (c *TCP) Connect() { c.x.t.Helper(); c.do("Connect", c.TCPPeer.Connect) }

// Accept waits for a connection and accepts it; see inject.TCPPeer.Accept.
func (c *TCP) Accept() { c.x.t.Helper(); c.do("Accept", c.TCPPeer.Accept) }

// AcceptDial has a socket of the host dial this end, accepts the connection and returns the socket; see Lab.AcceptDial.
func (c *TCP) AcceptDial() net.Conn {
	c.x.t.Helper()
	return ask1(c.x, c.who+": AcceptDial", c.x.Lab.AcceptDial, c.TCPPeer)
}

// SimultaneousOpen opens a connection from both ends; see inject.TCPPeer.SimultaneousOpen.
func (c *TCP) SimultaneousOpen() {
	c.x.t.Helper()
	c.do("SimultaneousOpen", c.TCPPeer.SimultaneousOpen)
}

// Send sends a segment and returns it; see inject.TCPPeer.Send.
func (c *TCP) Send(s inject.Segment) inject.Packet {
	c.x.t.Helper()
	return ask1(c.x, c.who+": Send", c.TCPPeer.Send, s)
}

// Expect takes the next segment, which must be as s says; see inject.TCPPeer.Expect.
func (c *TCP) Expect(s inject.Segment) inject.Packet {
	c.x.t.Helper()
	return ask1(c.x, c.who+": Expect", c.TCPPeer.Expect, s)
}

// ExpectAck waits until all that was sent is acknowledged; see inject.TCPPeer.ExpectAck.
func (c *TCP) ExpectAck() { c.x.t.Helper(); c.do("ExpectAck", c.TCPPeer.ExpectAck) }

// ExpectNothing fails the test if there is an unread segment; see inject.TCPPeer.ExpectNothing.
func (c *TCP) ExpectNothing() { c.x.t.Helper(); c.do("ExpectNothing", c.TCPPeer.ExpectNothing) }

// Write sends data and waits for nothing; see inject.TCPPeer.Write.
func (c *TCP) Write(data []byte) { c.x.t.Helper(); do1(c.x, c.who+": Write", c.TCPPeer.Write, data) }

// Read returns the next n bytes, with n < 0 all until the other end closes; see inject.TCPPeer.Read.
func (c *TCP) Read(n int) []byte { c.x.t.Helper(); return ask1(c.x, c.who+": Read", c.TCPPeer.Read, n) }

// Ack acknowledges all that was taken; see inject.TCPPeer.Ack.
func (c *TCP) Ack() { c.x.t.Helper(); c.do("Ack", c.TCPPeer.Ack) }

// Fin closes this direction; see inject.TCPPeer.Fin.
func (c *TCP) Fin() { c.x.t.Helper(); c.do("Fin", c.TCPPeer.Fin) }

// Close closes both directions, with another end that answers by itself; see inject.TCPPeer.Close and, for two scripts, Teardown.
func (c *TCP) Close() { c.x.t.Helper(); c.do("Close", c.TCPPeer.Close) }

// Retransmit sends the last segment again that had data, SYN or FIN; see inject.TCPPeer.Retransmit.
func (c *TCP) Retransmit() { c.x.t.Helper(); c.do("Retransmit", c.TCPPeer.Retransmit) }

// Reset sends an RST; see inject.TCPPeer.Reset.
func (c *TCP) Reset(kind inject.ResetKind) {
	c.x.t.Helper()
	do1(c.x, c.who+": Reset", c.TCPPeer.Reset, kind)
}

// UDP is an inject.UDPPeer for a test, as TCP is an inject.TCPPeer.
type UDP struct {
	*inject.UDPPeer
	end
}

// UDP returns an end of a conversation over UDP behind a link. A server leaves the destination of the flow zero.
func (x *Experiment) UDP(link string, f inject.Flow) *UDP {
	x.t.Helper()
	peer := ask(x, "UDP", func(context.Context) (*inject.UDPPeer, error) { return x.Lab.UDP(link, f) })
	return &UDP{peer, end{x, fmt.Sprintf("UDP at %v", f.Src)}}
}

// Send sends a datagram and returns it.
func (u *UDP) Send(payload []byte) inject.Packet {
	u.x.t.Helper()
	return ask1(u.x, u.who+": Send", u.UDPPeer.Send, payload)
}

// Expect takes the next datagram, which must have that payload (nil: any); see inject.UDPPeer.Expect.
func (u *UDP) Expect(payload []byte) inject.Packet {
	u.x.t.Helper()
	return ask1(u.x, u.who+": Expect", u.UDPPeer.Expect, payload)
}

// ExpectNothing fails the test if there is an unread datagram.
func (u *UDP) ExpectNothing() { u.x.t.Helper(); u.do("ExpectNothing", u.UDPPeer.ExpectNothing) }

// Echo is an inject.EchoPeer for a test, as TCP is an inject.TCPPeer.
type Echo struct {
	*inject.EchoPeer
	end
}

// Echo returns an end of a conversation over ICMP echo behind a link. One that only answers leaves dst zero.
func (x *Experiment) Echo(link string, src, dst netip.Addr) *Echo {
	x.t.Helper()
	peer := ask(x, "Echo", func(context.Context) (*inject.EchoPeer, error) { return x.Lab.Echo(link, src, dst) })
	return &Echo{peer, end{x, fmt.Sprintf("echo at %v", src)}}
}

// Ping sends an echo request and returns it.
func (e *Echo) Ping(payload []byte) inject.Packet {
	e.x.t.Helper()
	return ask1(e.x, e.who+": Ping", e.EchoPeer.Ping, payload)
}

// ExpectReply takes the next echo message, which must answer the last request with that payload (nil: any).
func (e *Echo) ExpectReply(payload []byte) inject.Packet {
	e.x.t.Helper()
	return ask1(e.x, e.who+": ExpectReply", e.EchoPeer.ExpectReply, payload)
}

// ExpectRequest takes the next echo message, which must be a request with that payload (nil: any).
func (e *Echo) ExpectRequest(payload []byte) inject.Packet {
	e.x.t.Helper()
	return ask1(e.x, e.who+": ExpectRequest", e.EchoPeer.ExpectRequest, payload)
}

// Reply answers the last request that was taken, and returns the answer.
func (e *Echo) Reply() inject.Packet {
	e.x.t.Helper()
	return ask(e.x, e.who+": Reply", e.EchoPeer.Reply)
}

// ExpectNothing fails the test if there is an unread echo message.
func (e *Echo) ExpectNothing() { e.x.t.Helper(); e.do("ExpectNothing", e.EchoPeer.ExpectNothing) }

// end is an end of a conversation in an Experiment, with the name that failures have.
type end struct {
	x   *Experiment
	who string
}

func (e end) do(what string, f func(context.Context) error) {
	e.x.t.Helper()
	e.x.do(e.who+": "+what, f)
}
