package inject

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// UDPPeer is an end of a conversation over UDP that a test plays. It is for one goroutine.
type UDPPeer struct {
	by    Sender
	out   string
	inbox *Inbox
	flow  Flow
	sent  Packet // the last datagram
}

// NewUDP returns a peer that sends by a Sender, and reads from the inbox what leaves by the link of that name. The source of
// flow is its own address. A server may leave the destination zero: it is whoever sends the first datagram, as that looks
// where it arrives.
func NewUDP(by Sender, link string, inbox *Inbox, flow Flow) *UDPPeer {
	if by == nil || inbox == nil {
		panic("inject: NewUDP without Sender or Inbox")
	}
	return &UDPPeer{by: by, out: link, inbox: inbox, flow: checkedFlow("NewUDP", flow)}
}

// Flow returns the flow of what the peer sends, its destination as learnt.
func (p *UDPPeer) Flow() Flow { return p.flow }

// Send sends a datagram and returns it.
func (p *UDPPeer) Send(ctx context.Context, payload []byte) (Packet, error) {
	if !p.flow.Dst.Addr().IsValid() || p.flow.Dst.Port() == 0 {
		return nil, fmt.Errorf("send from %v: nobody has come yet to send to", p.flow.Src)
	}
	p.sent = p.flow.UDP(payload)
	return sendOne(ctx, p.by, slices.Clone(p.sent))
}

func sendOne(ctx context.Context, by Sender, packet Packet) (Packet, error) {
	_, err := by.Send(ctx, Packets(packet))
	return packet, err
}

// Expect takes the next datagram to the peer, which must have that payload (nil: any), and waits for it until ctx ends. A
// different one ends it at once, and so does an ICMP error about the last one that the peer has sent, unless a datagram is there:
// unreachable, time exceeded, parameter problem. Both stay unread. Other flows are not looked at.
func (p *UDPPeer) Expect(ctx context.Context, payload []byte) (Packet, error) {
	w := Want{Out: p.out, Proto: nf.UDP, Src: p.flow.Dst, Dst: p.flow.Src, Payload: payload}
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

func (p *UDPPeer) mine(a Arrival) bool {
	t := a.Packet.Tuple()
	return a.Out == p.out && t.Proto == nf.UDP && isAnswer(p.flow, t)
}

// isRefused reports whether a packet is an ICMP error about the last datagram.
func (p *UDPPeer) isRefused(a Arrival) bool {
	return a.Out == p.out && isRefused(a.Packet, p.sent)
}

// isRefused reports whether an ICMP error says that a packet which was sent will not arrive. Routers have changed the TTL and
// the checksum of what it quotes.
func isRefused(p, sent Packet) bool {
	d := dissect(p)
	if sent == nil || !d.isHard() {
		return false
	}
	s, q := dissect(sent), dissect(d.quote)
	if s.tuple != q.tuple || len(s.icmp) != len(q.icmp) || !bytes.HasPrefix(s.data, q.data) {
		return false
	}
	return s.icmp == nil || bytes.Equal(s.icmp[4:], q.icmp[4:]) // identifier and number
}

// expectNext takes the next packet that is mine, which must be as w says, unless refused says that there will be none.
func expectNext(ctx context.Context, inbox *Inbox, what string, mine, refused func(Arrival) bool, w Want) (Packet, error) {
	if err := inbox.knows(w); err != nil {
		return nil, err
	}
	a, seen, err := inbox.await(ctx, func(a Arrival) verdict {
		switch {
		case refused(a):
			return doubt
		case !mine(a):
			return leave
		case differing(w.Compare(a)) == 0:
			return take
		}
		return refuse
	})
	if err != nil {
		return nil, seen.unmet(what, err, wanted{compare: w.Compare, rows: w.rows})
	}
	return a.Packet, nil
}

func refuseIf(mine func(Arrival) bool) func(Arrival) verdict {
	return func(a Arrival) verdict {
		if mine(a) {
			return refuse
		}
		return leave
	}
}
