package inject

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
)

// EchoPeer is an end of a conversation over ICMP or ICMPv6 echo that a test plays: it asks, or answers. It is for one
// goroutine.
type EchoPeer struct {
	ID uint16 // the identifier of its requests; 0 means 1

	by       Sender
	out      string
	inbox    *Inbox
	src, dst netip.Addr
	seq      uint16 // of the last request that was sent or taken
	asked    Packet // the last request that was taken
	sent     Packet // the last message
}

// NewEcho returns a peer at src that sends by a Sender, and reads from the inbox what leaves by the link of that name. One
// that only answers may leave dst zero.
func NewEcho(by Sender, link string, inbox *Inbox, src, dst netip.Addr) *EchoPeer {
	if by == nil || inbox == nil || !src.IsValid() {
		panic("inject: NewEcho without Sender, Inbox or source")
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
func (p *EchoPeer) Ping(ctx context.Context, payload []byte) (Packet, error) {
	if !p.dst.IsValid() {
		return nil, fmt.Errorf("ping from %v: the destination is not known", p.src)
	}
	p.seq++
	p.sent = Echo(p.src, p.dst, p.id(), p.seq, payload)
	return sendOne(ctx, p.by, slices.Clone(p.sent))
}

// ExpectReply takes the next echo message to the peer, which must answer its last request with the same identifier, sequence
// number and payload (nil: any). An ICMP error about that ends it at once, as in UDPPeer.Expect.
func (p *EchoPeer) ExpectReply(ctx context.Context, payload []byte) (Packet, error) {
	w := p.want(0, 129)
	w.Src, w.ICMPID, w.Payload = netip.AddrPortFrom(p.dst, 0), new(p.id()), payload
	w.Is = func(got Packet) error {
		if seq := echoSeq(got); seq != p.seq {
			return fmt.Errorf("the sequence number is %d, that of the request was %d", seq, p.seq)
		}
		return nil
	}
	return expectNext(ctx, p.inbox, fmt.Sprintf("no such echo reply to %v", p.src), p.mine, p.isRefused, w)
}

// ExpectRequest takes the next echo message to the peer, which must be a request with that payload (nil: any).
func (p *EchoPeer) ExpectRequest(ctx context.Context, payload []byte) (Packet, error) {
	w := p.want(8, 128)
	w.Payload = payload
	packet, err := expectNext(ctx, p.inbox, fmt.Sprintf("no such echo request to %v", p.src), p.mine, p.isRefused, w)
	if err == nil {
		p.asked = packet
	}
	return packet, err
}

// Reply answers the last request that was taken, and returns the answer.
func (p *EchoPeer) Reply(ctx context.Context) (Packet, error) {
	if p.asked == nil {
		return nil, fmt.Errorf("reply from %v: no request was taken", p.src)
	}
	t := p.asked.Tuple()
	p.sent = EchoReply(t.Dst.Addr(), t.Src.Addr(), t.ICMP.ID, echoSeq(p.asked), dissect(p.asked).data)
	return sendOne(ctx, p.by, slices.Clone(p.sent))
}

// ExpectNothing fails if an echo message to the peer is unread, when the host is done with all that was sent to it.
func (p *EchoPeer) ExpectNothing(ctx context.Context) error {
	if err := p.inbox.knowsLink(p.out); err != nil {
		return err
	}
	return p.inbox.expectNone(ctx, fmt.Sprintf("no echo to %v was expected", p.src), refuseIf(p.mine))
}

func (p *EchoPeer) want(type4, type6 uint8) Want {
	proto, typ := nf.ICMP, type4
	if p.src.Is6() {
		proto, typ = nf.ICMPv6, type6
	}
	return Want{Out: p.out, Proto: proto, Dst: netip.AddrPortFrom(p.src, 0), ICMPType: &typ}
}

// mine reports whether a packet is an echo message to the peer.
func (p *EchoPeer) mine(a Arrival) bool {
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
func (p *EchoPeer) isRefused(a Arrival) bool {
	return a.Out == p.out && isRefused(a.Packet, p.sent)
}

// echoSeq returns the sequence number of an echo message.
func echoSeq(p Packet) uint16 {
	h := dissect(p).icmp
	if h == nil {
		return 0
	}
	return uint16(h[6])<<8 | uint16(h[7])
}
