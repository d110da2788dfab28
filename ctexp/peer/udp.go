package peer

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// UDPPeer is an end of a conversation over UDP that a test plays. It is for one goroutine.
type UDPPeer struct {
	by    Sender
	out   string
	inbox *Inbox
	flow  packet.Flow
	sent  packet.Packet // the last datagram
}

// NewUDP returns a peer that sends by a Sender, and reads from the inbox what leaves by the link of that name. The source of
// flow is its own address. A server may leave the destination zero: it is whoever sends the first datagram, as that looks
// where it arrives.
func NewUDP(by Sender, link string, inbox *Inbox, flow packet.Flow) *UDPPeer {
	if by == nil || inbox == nil {
		panic("peer: NewUDP without Sender or Inbox")
	}
	return &UDPPeer{by: by, out: link, inbox: inbox, flow: checkedFlow("NewUDP", flow)}
}

// Flow returns the flow of what the peer sends, its destination as learnt.
func (p *UDPPeer) Flow() packet.Flow { return p.flow }

// Send sends a datagram and returns it.
func (p *UDPPeer) Send(ctx context.Context, payload []byte) (packet.Packet, error) {
	if !p.flow.Dst.Addr().IsValid() || p.flow.Dst.Port() == 0 {
		return nil, fmt.Errorf("send from %v: nobody has come yet to send to", p.flow.Src)
	}
	p.sent = p.flow.UDP(payload)
	return sendOne(ctx, p.by, slices.Clone(p.sent))
}

func sendOne(ctx context.Context, by Sender, pkt packet.Packet) (packet.Packet, error) {
	_, err := by.Send(ctx, packet.Packets(pkt))
	return pkt, err
}

// Expect takes the next datagram to the peer, which must have that payload (nil: any), and waits for it until ctx ends. A
// different one ends it at once, and so does an ICMP error about the last one that the peer has sent, unless a datagram is there:
// unreachable, time exceeded, parameter problem. Both stay unread. Other flows are not looked at.
func (p *UDPPeer) Expect(ctx context.Context, payload []byte) (packet.Packet, error) {
	w := packet.Want{Out: p.out, Proto: nf.UDP, Src: p.flow.Dst, Dst: p.flow.Src, Payload: payload}
	packet, err := expectNext(ctx, p.inbox, fmt.Sprintf("no such datagram to %v", p.flow.Src), p.mine, p.isRefused, w)
	if err == nil {
		p.flow.Dst = packet.Tuple().Src
	}
	return packet, err
}

// ExpectNothing fails if a datagram to the peer is unread, when the host is done with all that was sent to it.
func (p *UDPPeer) ExpectNothing(ctx context.Context) error {
	if err := p.inbox.knowsLink(p.out); err != nil {
		return err
	}
	return p.inbox.expectNone(ctx, fmt.Sprintf("no datagram to %v was expected", p.flow.Src), refuseIf(p.mine))
}

func (p *UDPPeer) mine(a packet.Arrival) bool {
	t := a.Packet.Tuple()
	return a.Out == p.out && t.Proto == nf.UDP && isAnswer(p.flow, t)
}

// isRefused reports whether a packet is an ICMP error about the last datagram.
func (p *UDPPeer) isRefused(a packet.Arrival) bool {
	return a.Out == p.out && isRefused(a.Packet, p.sent)
}

// isRefused reports whether an ICMP error says that a packet which was sent will not arrive. Routers have changed the TTL and
// the checksum of what it quotes.
func isRefused(p, sent packet.Packet) bool {
	d := packet.Dissect(p)
	if sent == nil || !d.IsHard() {
		return false
	}
	s, q := packet.Dissect(sent), packet.Dissect(d.Quote)
	if s.Tuple != q.Tuple || len(s.Icmp) != len(q.Icmp) || !bytes.HasPrefix(s.Data, q.Data) {
		return false
	}
	return s.Icmp == nil || bytes.Equal(s.Icmp[4:], q.Icmp[4:]) // identifier and number
}

// expectNext takes the next packet that is mine, which must be as w says, unless refused says that there will be none.
func expectNext(ctx context.Context, inbox *Inbox, what string, mine, refused func(packet.Arrival) bool, w packet.Want) (packet.Packet, error) {
	if err := inbox.knows(w); err != nil {
		return nil, err
	}
	a, seen, err := inbox.await(ctx, func(a packet.Arrival) verdict {
		switch {
		case refused(a):
			return doubt
		case !mine(a):
			return leave
		case packet.Differing(w.Compare(a)) == 0:
			return take
		}
		return refuse
	})
	if err != nil {
		return nil, seen.unmet(what, err, wanted{compare: w.Compare, rows: w.Rows})
	}
	return a.Packet, nil
}

func refuseIf(mine func(packet.Arrival) bool) func(packet.Arrival) verdict {
	return func(a packet.Arrival) verdict {
		if mine(a) {
			return refuse
		}
		return leave
	}
}

// EchoPeer is an end of a conversation over ICMP or ICMPv6 echo that a test plays: it asks, or answers. It is for one
// goroutine.
type EchoPeer struct {
	ID uint16 // the identifier of its requests; 0 means 1

	by       Sender
	out      string
	inbox    *Inbox
	src, dst netip.Addr
	seq      uint16        // of the last request that was sent or taken
	asked    packet.Packet // the last request that was taken
	sent     packet.Packet // the last message
}

// NewEcho returns a peer at src that sends by a Sender, and reads from the inbox what leaves by the link of that name. One
// that only answers may leave dst zero.
func NewEcho(by Sender, link string, inbox *Inbox, src, dst netip.Addr) *EchoPeer {
	if by == nil || inbox == nil || !src.IsValid() {
		panic("peer: NewEcho without Sender, Inbox or source")
	}
	return &EchoPeer{by: by, out: link, inbox: inbox, src: src.Unmap(), dst: dst.Unmap()}
}

func (p *EchoPeer) id() uint16 {
	if p.ID == 0 {
		return 1
	}
	return p.ID
}

// Ping sends an echo request and returns it; the sequence numbers are 1, 2, …
func (p *EchoPeer) Ping(ctx context.Context, payload []byte) (packet.Packet, error) {
	if !p.dst.IsValid() {
		return nil, fmt.Errorf("ping from %v: the destination is not known", p.src)
	}
	p.seq++
	p.sent = packet.Echo(p.src, p.dst, p.id(), p.seq, payload)
	return sendOne(ctx, p.by, slices.Clone(p.sent))
}

// ExpectReply takes the next echo message to the peer, which must answer its last request with the same identifier, sequence
// number and payload (nil: any). An ICMP error about that ends it at once, as in UDPPeer.Expect.
func (p *EchoPeer) ExpectReply(ctx context.Context, payload []byte) (packet.Packet, error) {
	w := p.want(0, 129)
	w.Src, w.ICMPID, w.Payload = netip.AddrPortFrom(p.dst, 0), new(p.id()), payload
	w.Is = func(got packet.Packet) error {
		if seq := echoSeq(got); seq != p.seq {
			return fmt.Errorf("the sequence number is %d, that of the request was %d", seq, p.seq)
		}
		return nil
	}
	return expectNext(ctx, p.inbox, fmt.Sprintf("no such echo reply to %v", p.src), p.mine, p.isRefused, w)
}

// ExpectRequest takes the next echo message to the peer, which must be a request with that payload (nil: any).
func (p *EchoPeer) ExpectRequest(ctx context.Context, payload []byte) (packet.Packet, error) {
	w := p.want(8, 128)
	w.Payload = payload
	packet, err := expectNext(ctx, p.inbox, fmt.Sprintf("no such echo request to %v", p.src), p.mine, p.isRefused, w)
	if err == nil {
		p.asked = packet
	}
	return packet, err
}

// Reply answers the last request that was taken, and returns the answer.
func (p *EchoPeer) Reply(ctx context.Context) (packet.Packet, error) {
	if p.asked == nil {
		return nil, fmt.Errorf("reply from %v: no request was taken", p.src)
	}
	t := p.asked.Tuple()
	p.sent = packet.EchoReply(t.Dst.Addr(), t.Src.Addr(), t.ICMP.ID, echoSeq(p.asked), packet.Dissect(p.asked).Data)
	return sendOne(ctx, p.by, slices.Clone(p.sent))
}

// ExpectNothing fails if an echo message to the peer is unread, when the host is done with all that was sent to it.
func (p *EchoPeer) ExpectNothing(ctx context.Context) error {
	if err := p.inbox.knowsLink(p.out); err != nil {
		return err
	}
	return p.inbox.expectNone(ctx, fmt.Sprintf("no echo to %v was expected", p.src), refuseIf(p.mine))
}

func (p *EchoPeer) want(type4, type6 uint8) packet.Want {
	proto, typ := nf.ICMP, type4
	if p.src.Is6() {
		proto, typ = nf.ICMPv6, type6
	}
	return packet.Want{Out: p.out, Proto: proto, Dst: netip.AddrPortFrom(p.src, 0), ICMPType: &typ}
}

// mine reports whether a packet is an echo message to the peer.
func (p *EchoPeer) mine(a packet.Arrival) bool {
	t := a.Packet.Tuple()
	if a.Out != p.out || t.Dst.Addr() != p.src {
		return false
	}
	switch typ := t.ICMP.Type; t.Proto {
	case nf.ICMP:
		return typ == 0 || typ == 8
	case nf.ICMPv6:
		return typ == 128 || typ == 129
	}
	return false
}

// isRefused reports whether a packet is an ICMP error about the last message.
func (p *EchoPeer) isRefused(a packet.Arrival) bool {
	return a.Out == p.out && isRefused(a.Packet, p.sent)
}

// echoSeq returns the sequence number of an echo message.
func echoSeq(p packet.Packet) uint16 {
	h := packet.Dissect(p).Icmp
	if h == nil {
		return 0
	}
	return uint16(h[6])<<8 | uint16(h[7])
}
