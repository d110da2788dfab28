package peer

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
	"github.com/ctexp/go-ctexp/internal/header"
)

// Echo is an end of a conversation over ICMP or ICMPv6 echo that a test plays: it asks, or answers. It is for one
// goroutine.
type Echo struct {
	// ID is the identifier of its requests; 0 means 1.
	ID uint16

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
func NewEcho(by Sender, link string, inbox *Inbox, src, dst netip.Addr) *Echo {
	if by == nil || inbox == nil || !src.IsValid() {
		panic("peer: NewEcho without Sender, Inbox or source")
	}
	return &Echo{by: by, out: link, inbox: inbox, src: src.Unmap(), dst: dst.Unmap()}
}

func (p *Echo) id() uint16 {
	if p.ID == 0 {
		return 1
	}
	return p.ID
}

// Ping sends an echo request and returns it; the sequence numbers are 1, 2, …
func (p *Echo) Ping(ctx context.Context, payload []byte) (packet.Packet, error) {
	if !p.dst.IsValid() {
		return nil, fmt.Errorf("ping from %v: the destination is not known", p.src)
	}
	p.seq++
	p.sent = packet.Echo(p.src, p.dst, p.id(), p.seq, payload)
	return sendOne(ctx, p.by, slices.Clone(p.sent))
}

// ExpectReply takes the next echo message to the peer, which must answer its last request with the same identifier, sequence
// number and payload (nil: any). An ICMP error about that ends it at once, as in UDP.Expect.
func (p *Echo) ExpectReply(ctx context.Context, payload []byte) (packet.Packet, error) {
	m := p.match(0, 129)
	m.Src, m.ICMPID, m.Payload = netip.AddrPortFrom(p.dst, 0), new(p.id()), payload
	m.Is = func(got packet.Packet) error {
		if seq := echoSeq(got); seq != p.seq {
			return fmt.Errorf("the sequence number is %d, that of the request was %d", seq, p.seq)
		}
		return nil
	}
	return expectNext(ctx, p.inbox, fmt.Sprintf("no such echo reply to %v", p.src), p.mine, p.isRefused, m)
}

// ExpectRequest takes the next echo message to the peer, which must be a request with that payload (nil: any).
func (p *Echo) ExpectRequest(ctx context.Context, payload []byte) (packet.Packet, error) {
	m := p.match(8, 128)
	m.Payload = payload
	got, err := expectNext(ctx, p.inbox, fmt.Sprintf("no such echo request to %v", p.src), p.mine, p.isRefused, m)
	if err == nil {
		p.asked = got
	}
	return got, err
}

// Reply answers the last request that was taken, and returns the answer.
func (p *Echo) Reply(ctx context.Context) (packet.Packet, error) {
	if p.asked == nil {
		return nil, fmt.Errorf("reply from %v: no request was taken", p.src)
	}
	t := p.asked.Tuple()
	p.sent = packet.EchoReply(t.Dst.Addr(), t.Src.Addr(), t.ICMP.ID, echoSeq(p.asked), p.asked.Data())
	return sendOne(ctx, p.by, slices.Clone(p.sent))
}

// ExpectNothing fails if an echo message to the peer is unread, when the host is done with all that was sent to it.
func (p *Echo) ExpectNothing(ctx context.Context) error {
	if err := p.inbox.checkLink(p.out); err != nil {
		return err
	}
	return p.inbox.expectNone(ctx, fmt.Sprintf("no echo to %v was expected", p.src), p.mine)
}

func (p *Echo) match(type4, type6 uint8) packet.Match {
	proto, typ := nf.ICMP, type4
	if p.src.Is6() {
		proto, typ = nf.ICMPv6, type6
	}
	return packet.Match{Out: p.out, Proto: proto, Dst: netip.AddrPortFrom(p.src, 0), ICMPType: &typ}
}

// mine reports whether a packet is an echo message to the peer.
func (p *Echo) mine(r packet.Record) bool {
	t := r.Packet.Tuple()
	if r.Link != p.out || t.Dst.Addr() != p.src {
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
func (p *Echo) isRefused(r packet.Record) bool {
	return r.Link == p.out && isRefused(r.Packet, p.sent)
}

// echoSeq returns the sequence number of an echo message.
func echoSeq(p packet.Packet) uint16 {
	h := header.Parse(p).Body(p)
	if len(h) < header.ICMPSize {
		return 0
	}
	return binary.BigEndian.Uint16(h[6:])
}
