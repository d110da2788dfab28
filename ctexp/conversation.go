package ctexp

import (
	"context"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/netnsenv"
	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/ctexp/peer"
)

// TCP is a peer.TCP for a test: an error or a failed expectation ends the test, with a table of what was wanted and what
// was received, and with every packet that came. The methods are documented at peer.TCP.
type TCP struct {
	*peer.TCP
	end
}

// TCP returns an end of a TCP connection behind a link. The source of the flow is its own address. A server leaves the
// destination zero; it is then the source of the first segment that arrives, after any NAT. On a link of Kind Veth, what it
// would send directly to a neighbour, because both are in the network of the link, is an error: it does not go through the host.
//
//	client := x.TCP("tun0", packet.Flow{Src: inside, Dst: outside})
//	server := x.TCP("tun1", packet.Flow{Src: outside})
func (x *Experiment) TCP(link string, f packet.Flow) *TCP {
	x.t.Helper()
	peer := ask(x, "TCP", func(context.Context) (*peer.TCP, error) { return x.Lab.TCP(link, f) })
	return &TCP{peer, end{x, link, f.Src.Addr(), fmt.Sprintf("TCP at %v", f.Src)}}
}

// Handshake opens a connection between two ends, with the host as the router between them; see peer.Handshake.
func (x *Experiment) Handshake(client, server *TCP) {
	x.t.Helper()
	if client == nil || server == nil {
		panic("ctexp: Handshake of a nil TCP")
	}
	x.do("Handshake", func(ctx context.Context) error { return peer.Handshake(ctx, client.TCP, server.TCP) })
}

// Teardown closes a connection between two ends, beginning with the direction of the first; see peer.Teardown.
func (x *Experiment) Teardown(first, second *TCP) {
	x.t.Helper()
	if first == nil || second == nil {
		panic("ctexp: Teardown of a nil TCP")
	}
	x.do("Teardown", func(ctx context.Context) error { return peer.Teardown(ctx, first.TCP, second.TCP) })
}

// Connect opens a connection; see peer.TCP.Connect.
func (c *TCP) Connect() { c.x.t.Helper(); c.do("Connect", c.TCP.Connect) }

// Accept waits for a connection and accepts it; see peer.TCP.Accept.
func (c *TCP) Accept() { c.x.t.Helper(); c.do("Accept", c.TCP.Accept) }

// AcceptDial connects a socket of the host to this end and returns the socket; see Lab.AcceptDial.
func (c *TCP) AcceptDial() net.Conn {
	c.x.t.Helper()
	return ask1(c.x, c.who+": AcceptDial", c.x.Lab.AcceptDial, c.TCP)
}

// SimultaneousOpen opens a connection from both ends; see peer.TCP.SimultaneousOpen.
func (c *TCP) SimultaneousOpen() {
	c.x.t.Helper()
	c.do("SimultaneousOpen", c.TCP.SimultaneousOpen)
}

// Send sends a segment and returns it; see peer.TCP.Send.
func (c *TCP) Send(s peer.Segment) packet.Packet {
	c.x.t.Helper()
	return ask1(c.x, c.who+": Send", c.TCP.Send, s)
}

// Expect takes the next segment, which must match s; see peer.TCP.Expect.
func (c *TCP) Expect(s peer.Segment) packet.Packet {
	c.x.t.Helper()
	return ask1(c.x, c.who+": Expect", c.TCP.Expect, s)
}

// ExpectAck waits until everything sent is acknowledged; see peer.TCP.ExpectAck.
func (c *TCP) ExpectAck() { c.x.t.Helper(); c.do("ExpectAck", c.TCP.ExpectAck) }

// ExpectNothing fails the test if there is an unread segment; see peer.TCP.ExpectNothing. It also fails if the address of this end is
// not behind its link and no packet was about it: see AllowVacuous.
func (c *TCP) ExpectNothing() { c.x.t.Helper(); c.expectNothing(c.TCP.ExpectNothing) }

// Write sends data without waiting for an acknowledgement; see peer.TCP.Write.
func (c *TCP) Write(data []byte) { c.x.t.Helper(); do1(c.x, c.who+": Write", c.TCP.Write, data) }

// Read returns the next n bytes, or for n < 0 all bytes until the other end closes; see peer.TCP.Read.
func (c *TCP) Read(n int) []byte { c.x.t.Helper(); return ask1(c.x, c.who+": Read", c.TCP.Read, n) }

// Ack acknowledges everything taken so far; see peer.TCP.Ack.
func (c *TCP) Ack() { c.x.t.Helper(); c.do("Ack", c.TCP.Ack) }

// Fin closes this direction; see peer.TCP.Fin.
func (c *TCP) Fin() { c.x.t.Helper(); c.do("Fin", c.TCP.Fin) }

// Close closes both directions if the other end is a socket; see peer.TCP.Close. For two scripted ends use Teardown.
func (c *TCP) Close() { c.x.t.Helper(); c.do("Close", c.TCP.Close) }

// Retransmit sends the last segment with data, SYN or FIN again; see peer.TCP.Retransmit.
func (c *TCP) Retransmit() { c.x.t.Helper(); c.do("Retransmit", c.TCP.Retransmit) }

// Reset sends an RST; see peer.TCP.Reset.
func (c *TCP) Reset(kind peer.ResetKind) {
	c.x.t.Helper()
	do1(c.x, c.who+": Reset", c.TCP.Reset, kind)
}

// UDP is a peer.UDP for a test, as TCP is a peer.TCP.
type UDP struct {
	*peer.UDP
	end
}

// UDP returns an end of a UDP conversation behind a link. A server leaves the destination of the flow zero.
func (x *Experiment) UDP(link string, f packet.Flow) *UDP {
	x.t.Helper()
	peer := ask(x, "UDP", func(context.Context) (*peer.UDP, error) { return x.Lab.UDP(link, f) })
	return &UDP{peer, end{x, link, f.Src.Addr(), fmt.Sprintf("UDP at %v", f.Src)}}
}

// Send sends a datagram and returns it.
func (u *UDP) Send(payload []byte) packet.Packet {
	u.x.t.Helper()
	return ask1(u.x, u.who+": Send", u.UDP.Send, payload)
}

// Expect takes the next datagram, which must have this payload (nil: any); see peer.UDP.Expect.
func (u *UDP) Expect(payload []byte) packet.Packet {
	u.x.t.Helper()
	return ask1(u.x, u.who+": Expect", u.UDP.Expect, payload)
}

// ExpectNothing fails the test if there is an unread datagram, or nothing could have come, as that of a TCP does.
func (u *UDP) ExpectNothing() { u.x.t.Helper(); u.expectNothing(u.UDP.ExpectNothing) }

// Echo is a peer.Echo for a test, as TCP is a peer.TCP.
type Echo struct {
	*peer.Echo
	end
}

// Echo returns an end of an ICMP echo conversation behind a link. One that only replies leaves dst zero.
func (x *Experiment) Echo(link string, src, dst netip.Addr) *Echo {
	x.t.Helper()
	peer := ask(x, "Echo", func(context.Context) (*peer.Echo, error) { return x.Lab.Echo(link, src, dst) })
	return &Echo{peer, end{x, link, src, fmt.Sprintf("echo at %v", src)}}
}

// Ping sends an echo request and returns it.
func (e *Echo) Ping(payload []byte) packet.Packet {
	e.x.t.Helper()
	return ask1(e.x, e.who+": Ping", e.Echo.Ping, payload)
}

// ExpectReply takes the next echo message, which must reply to the last request with this payload (nil: any).
func (e *Echo) ExpectReply(payload []byte) packet.Packet {
	e.x.t.Helper()
	return ask1(e.x, e.who+": ExpectReply", e.Echo.ExpectReply, payload)
}

// ExpectRequest takes the next echo message, which must be a request with this payload (nil: any).
func (e *Echo) ExpectRequest(payload []byte) packet.Packet {
	e.x.t.Helper()
	return ask1(e.x, e.who+": ExpectRequest", e.Echo.ExpectRequest, payload)
}

// Reply replies to the last request that was taken, and returns the reply.
func (e *Echo) Reply() packet.Packet {
	e.x.t.Helper()
	return ask(e.x, e.who+": Reply", e.Echo.Reply)
}

// ExpectNothing fails the test if there is an unread echo message, or nothing could have come, as that of a TCP does.
func (e *Echo) ExpectNothing() { e.x.t.Helper(); e.expectNothing(e.Echo.ExpectNothing) }

// end is an end of a conversation in an Experiment.
type end struct {
	x    *Experiment
	link string
	addr netip.Addr
	who  string // its name in failures
}

// expectNothing is the ExpectNothing of a peer, which must be where something could come.
func (e end) expectNothing(peer func(context.Context) error) {
	e.x.t.Helper()
	e.do("ExpectNothing", func(ctx context.Context) error {
		if err := peer(ctx); err != nil {
			return err
		}
		return e.x.isSomewhere(ctx, e.link, e.addr)
	})
}

func (e end) do(what string, f func(context.Context) error) {
	e.x.t.Helper()
	e.x.do(e.who+": "+what, f)
}

// TCP returns an end of a TCP connection behind a link; see peer.NewTCP.
func (l *Lab) TCP(link string, f packet.Flow) (*peer.TCP, error) {
	sender, err := l.senderOn(link)
	if err != nil {
		return nil, err
	}
	return peer.NewTCP(sender, link, l.Inbox, f), nil
}

// UDP returns an end of a UDP conversation behind a link; see peer.NewUDP.
func (l *Lab) UDP(link string, f packet.Flow) (*peer.UDP, error) {
	sender, err := l.senderOn(link)
	if err != nil {
		return nil, err
	}
	return peer.NewUDP(sender, link, l.Inbox, f), nil
}

// Echo returns an end of an ICMP echo conversation behind a link; see peer.NewEcho.
func (l *Lab) Echo(link string, src, dst netip.Addr) (*peer.Echo, error) {
	sender, err := l.senderOn(link)
	if err != nil {
		return nil, err
	}
	return peer.NewEcho(sender, link, l.Inbox, src, dst), nil
}

// AcceptDial dials the peer's own address from a socket of the host under test, accepts the connection, and returns the
// socket, which is closed with the Env. If the socket fails, its error is returned.
func (l *Lab) AcceptDial(ctx context.Context, p *peer.TCP) (net.Conn, error) {
	if p == nil {
		panic("ctexp: AcceptDial of a nil TCP")
	}
	dialing, cancelDial := context.WithCancel(ctx)
	defer cancelDial()
	accepting, cancelAccept := context.WithCancelCause(ctx)
	defer cancelAccept(nil)
	type dialed struct {
		conn net.Conn
		err  error
	}
	done, to := make(chan dialed, 1), p.Flow().Src.String()
	go func() {
		conn, err := l.Env.Dial(dialing, "tcp", to)
		if err != nil {
			cancelAccept(err)
		}
		done <- dialed{conn, err}
	}()
	err := p.Accept(accepting)
	if err != nil {
		cancelDial()
	}
	socket := <-done
	if err == nil {
		return socket.conn, socket.err
	}
	if socket.conn != nil {
		err = fmt.Errorf("%w\nthe socket is connected to %v nevertheless, but not to this script", err, socket.conn.RemoteAddr())
		socket.conn.Close()
	}
	return nil, err
}

// linkSender is the peer.Sender of a link of a Lab.
type linkSender struct {
	lab  *Lab
	link *netnsenv.Link
}

func (l *Lab) senderOn(link string) (linkSender, error) {
	to, err := l.linkNamed(link)
	if err != nil {
		return linkSender{}, fmt.Errorf("ctexp: %w", err)
	}
	return linkSender{l, to}, nil
}

// Send injects the packets on the link, unless the end of a conversation there would not have sent them to the host.
func (s linkSender) Send(ctx context.Context, packets iter.Seq[packet.Packet]) (int, error) {
	all := slices.Collect(packets)
	for _, p := range all {
		if err := s.isForTheHost(p.Tuple()); err != nil {
			return 0, err
		}
	}
	return s.lab.inject(ctx, s.link, packet.Packets(all...))
}

// isForTheHost returns an error if both ends of a packet are in the network of a link that is an Ethernet, whose hosts reach each other
// without the host under test: what it does with such a packet, as with the answers of a server behind NAT to a client beside it, never
// happens. Behind a tun, as of a VPN, it does.
func (s linkSender) isForTheHost(t nf.Tuple) error {
	if !slices.ContainsFunc(s.lab.Env.Config().Links, func(l netnsenv.LinkConfig) bool {
		return l.Name == s.link.Name() && l.Kind == netnsenv.Veth
	}) {
		return nil
	}
	src, dst := t.Src.Addr(), t.Dst.Addr()
	prefixes := s.link.Prefixes()
	i := slices.IndexFunc(prefixes, func(p netip.Prefix) bool {
		p = p.Masked()
		return p.Contains(src) && p.Contains(dst) && dst != lastOf(p)
	})
	if i < 0 || dst.IsMulticast() {
		return nil
	}
	own, err := s.lab.addresses()
	if err != nil || slices.Contains(own, dst) {
		return err
	}
	return fmt.Errorf("%v would send to %v directly, and not through the host: both are in %v, the network of %s (InjectOn sends it to the host all the same)",
		src, dst, prefixes[i].Masked(), s.link.Name())
}

// lastOf returns the last address of a prefix, in IPv4 that of its broadcasts.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// addresses returns the addresses that the host has now.
func (l *Lab) addresses() (own []netip.Addr, err error) {
	err = l.Env.Do(func() error {
		all, err := net.InterfaceAddrs()
		for _, a := range all {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				own = append(own, p.Addr())
			}
		}
		return err
	})
	return own, err
}

// Expect takes the first packet that the host has sent, that was not taken yet and that matches m; others stay unread. It
// waits for packets of the host's sockets and timers until the test's deadline, at most 10 s; see Inbox.Patience. If none
// comes the test fails, with what was wanted, the nearest packet and every packet that came.
func (x *Experiment) Expect(m packet.Match) (p packet.Packet) {
	x.t.Helper()
	x.do("Expect", func(ctx context.Context) error {
		a, err := x.Inbox.Expect(ctx, m)
		if p = a.Packet; err != nil {
			return err
		}
		return x.Observer.CheckLimit(ctx)
	})
	return p
}

// ExpectNothing fails the test if the host has sent a packet that was not taken yet and that one of ms matches, whatever its
// checksums; without ms, if it has sent any. It waits only for packets that a shaper or an NFQUEUE of the host holds (see
// peer.Inbox.AllowBacklog), not for those of Hold and Queue. It also fails if nothing was sent, dialled or run, if
// it is about IPv6 where the host has none, and if all that could have come is what Config.Silent has dropped: see AllowVacuous.
func (x *Experiment) ExpectNothing(ms ...packet.Match) {
	x.t.Helper()
	x.do("ExpectNothing", func(ctx context.Context) error {
		if err := x.Inbox.ExpectNothing(ctx, ms...); err != nil {
			return err
		}
		return x.Observer.CheckLimit(ctx)
	})
}

// Received takes all packets that the host has sent and that were not taken yet, link by link, each in the order of
// sending. Like ExpectNothing it waits for packets that the host holds.
func (x *Experiment) Received() []packet.Record {
	x.t.Helper()
	received := ask(x, "Received", x.Inbox.Received)
	if len(received) == 0 {
		x.do("Received", func(ctx context.Context) error {
			if err := x.couldCome(ctx); err != nil {
				return fmt.Errorf("it is empty, but %w; if that is meant, call x.AllowVacuous", err)
			}
			return nil
		})
	}
	return received
}
