package peer

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// UDP is an end of a conversation over UDP that a test plays. It is for one goroutine.
type UDP struct {
	by    Sender
	out   string
	inbox *Inbox
	flow  packet.Flow
	sent  packet.Packet // the last datagram
}

// NewUDP returns a peer that sends by a Sender, and reads from the inbox what leaves by the link of that name. The source of
// flow is its own address. A server may leave the destination zero: it is the source of the first datagram, as that looks where it
// arrives.
func NewUDP(by Sender, link string, inbox *Inbox, flow packet.Flow) *UDP {
	if by == nil || inbox == nil {
		panic("peer: NewUDP without Sender or Inbox")
	}
	return &UDP{by: by, out: link, inbox: inbox, flow: checkedFlow("NewUDP", flow)}
}

// Flow returns the flow of what the peer sends, its destination as learnt.
func (p *UDP) Flow() packet.Flow { return p.flow }

// Send sends a datagram and returns it.
func (p *UDP) Send(ctx context.Context, payload []byte) (packet.Packet, error) {
	if !p.flow.Dst.Addr().IsValid() || p.flow.Dst.Port() == 0 {
		return nil, fmt.Errorf("send from %v: the destination is not known yet", p.flow.Src)
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
func (p *UDP) Expect(ctx context.Context, payload []byte) (packet.Packet, error) {
	m := packet.Match{Out: p.out, Proto: nf.UDP, Src: p.flow.Dst, Dst: p.flow.Src, Payload: payload}
	got, err := expectNext(ctx, p.inbox, fmt.Sprintf("no such datagram to %v", p.flow.Src), p.mine, p.isRefused, m)
	if err == nil {
		p.flow.Dst = got.Tuple().Src
	}
	return got, err
}

// ExpectNothing fails if a datagram to the peer is unread, when the host is done with all that was sent to it.
func (p *UDP) ExpectNothing(ctx context.Context) error {
	if err := p.inbox.checkLink(p.out); err != nil {
		return err
	}
	return p.inbox.expectNone(ctx, fmt.Sprintf("no datagram to %v was expected", p.flow.Src), p.mine)
}

func (p *UDP) mine(r packet.Record) bool {
	t := r.Packet.Tuple()
	return r.Link == p.out && t.Proto == nf.UDP && isAnswer(p.flow, t)
}

// isRefused reports whether a packet is an ICMP error about the last datagram.
func (p *UDP) isRefused(r packet.Record) bool {
	return r.Link == p.out && isRefused(r.Packet, p.sent)
}

// isRefused reports whether p is an ICMP error about the packet that was sent. Routers have changed the TTL and the checksum
// of what it quotes.
func isRefused(p, sent packet.Packet) bool {
	quote := p.Quoted()
	if sent == nil || !isFinal(p) || sent.Tuple() != quote.Tuple() || !bytes.HasPrefix(sent.Data(), quote.Data()) {
		return false
	}
	return !sent.Tuple().Proto.IsICMP() || echoSeq(sent) == echoSeq(quote)
}

// isFinal reports whether an ICMP error says that the packet that it quotes has not arrived, and that another like it would not
// either: not that it was too big, or that there is a better way.
func isFinal(p packet.Packet) bool {
	t := p.Tuple()
	switch typ, code := t.ICMP.Type, t.ICMP.Code; t.Proto {
	case nf.ICMP:
		return typ == 3 && code != 4 || typ == 11 || typ == 12
	case nf.ICMPv6:
		return typ == 1 || typ == 3 || typ == 4
	}
	return false
}

// expectNext takes the next packet that is mine, which must be as m says, unless refused says that there will be none.
func expectNext(ctx context.Context, inbox *Inbox, what string, mine, refused func(packet.Record) bool, m packet.Match) (packet.Packet, error) {
	if err := inbox.check(m); err != nil {
		return nil, err
	}
	r, h, err := inbox.await(ctx, func(r packet.Record) verdict {
		switch {
		case refused(r):
			return giveUp
		case !mine(r):
			return leave
		case compare(m, r).Differing() == 0:
			return take
		}
		return refuse
	})
	if err != nil {
		return nil, h.failure(what, err, expected(m))
	}
	return r.Packet, nil
}
