package peer

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// UDP is an end of a UDP conversation that a test plays. It is not safe for concurrent use.
type UDP struct {
	sender Sender
	link   string
	inbox  *Inbox
	flow   packet.Flow
	sent   packet.Packet // the last datagram
}

// NewUDP returns a peer that sends through sender, and reads from the inbox what the host sends on the link of that name. The
// source of flow is the peer's own address. A server may leave the destination zero: it is then the source of the first
// datagram that arrives, after any NAT.
func NewUDP(sender Sender, link string, inbox *Inbox, flow packet.Flow) *UDP {
	if sender == nil || inbox == nil {
		panic("peer: NewUDP without Sender or Inbox")
	}
	return &UDP{sender: sender, link: link, inbox: inbox, flow: checkedFlow("NewUDP", flow)}
}

// Flow returns the flow of the peer's datagrams, with the destination once it is known.
func (p *UDP) Flow() packet.Flow { return p.flow }

// Send sends a datagram and returns it.
func (p *UDP) Send(ctx context.Context, payload []byte) (packet.Packet, error) {
	if !p.flow.Dst.Addr().IsValid() || p.flow.Dst.Port() == 0 {
		return nil, fmt.Errorf("send from %v: the destination is not known yet", p.flow.Src)
	}
	p.sent = p.flow.UDP(payload)
	return sendOne(ctx, p.sender, slices.Clone(p.sent))
}

func sendOne(ctx context.Context, s Sender, pkt packet.Packet) (packet.Packet, error) {
	_, err := s.Send(ctx, packet.Packets(pkt))
	return pkt, err
}

// Expect takes the next datagram to the peer, which must have this payload (nil: any), and waits for it until ctx is done. A
// datagram with another payload is an error at once. So is an ICMP error (unreachable, time exceeded, parameter problem) about
// the peer's last datagram, unless the expected datagram has already arrived. Both stay unread. Other flows are ignored.
func (p *UDP) Expect(ctx context.Context, payload []byte) (packet.Packet, error) {
	m := packet.Match{Out: p.link, Proto: nf.UDP, Src: p.flow.Dst, Dst: p.flow.Src, Payload: payload}
	got, err := expectNext(ctx, p.inbox, fmt.Sprintf("no such datagram to %v", p.flow.Src), p.mine, p.isRefused, m)
	if err == nil {
		p.flow.Dst = got.Tuple().Src
	}
	return got, err
}

// ExpectNothing fails if a datagram to the peer is unread after the host has processed everything sent to it.
func (p *UDP) ExpectNothing(ctx context.Context) error {
	if err := p.inbox.checkLink(p.link); err != nil {
		return err
	}
	return p.inbox.expectNone(ctx, fmt.Sprintf("no datagram to %v was expected", p.flow.Src), []packet.Match{{Tuple: p.flow.Reverse().Tuple(nf.UDP)}}, p.mine)
}

func (p *UDP) mine(r packet.Record) bool {
	t := r.Packet.Tuple()
	return r.Link == p.link && t.Proto == nf.UDP && isAnswer(p.flow, t)
}

// isRefused reports whether a packet is an ICMP error about the last datagram.
func (p *UDP) isRefused(r packet.Record) bool {
	return r.Link == p.link && isRefused(r.Packet, p.sent)
}

// isRefused reports whether p is an ICMP error about the packet sent. Routers may have changed TTL and checksum of the quote.
func isRefused(p, sent packet.Packet) bool {
	quote := p.Quoted()
	if sent == nil || !isFatal(p) || sent.Tuple() != quote.Tuple() || !bytes.HasPrefix(sent.Data(), quote.Data()) {
		return false
	}
	return !sent.Tuple().Proto.IsICMP() || echoSeq(sent) == echoSeq(quote)
}

// isFatal reports whether an ICMP error means that neither the quoted packet nor another one like it can arrive. That is not so
// for packet too big, fragmentation needed and redirects.
func isFatal(p packet.Packet) bool {
	t := p.Tuple()
	switch typ, code := t.ICMP.Type, t.ICMP.Code; t.Proto {
	case nf.ICMP:
		return typ == 3 && code != 4 || typ == 11 || typ == 12
	case nf.ICMPv6:
		return typ == 1 || typ == 3 || typ == 4
	}
	return false
}

// expectNext takes the next packet for which mine is true, which must match m. It fails if a packet for which refused is true
// comes first.
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
		case accepts(m, r):
			return take
		}
		return refuse
	})
	if err != nil {
		return nil, h.failure(what, err, expected(m))
	}
	return r.Packet, nil
}
