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

// Echo is an end of an ICMP or ICMPv6 echo conversation that a test plays: it sends requests, or replies. It is not safe for
// concurrent use.
type Echo struct {
	// ID is the identifier of the requests; 0 means 1.
	ID uint16

	sender   Sender
	link     string
	inbox    *Inbox
	src, dst netip.Addr
	seq      uint16        // of the last request sent
	request  packet.Packet // the last request taken
	sent     packet.Packet // the last message
}

// NewEcho returns a peer at src that sends through sender, and reads from the inbox what the host sends on the link of that
// name. A peer that only replies may leave dst zero.
func NewEcho(sender Sender, link string, inbox *Inbox, src, dst netip.Addr) *Echo {
	if sender == nil || inbox == nil || !src.IsValid() {
		panic("peer: NewEcho without Sender, Inbox or source")
	}
	return &Echo{sender: sender, link: link, inbox: inbox, src: src.Unmap(), dst: dst.Unmap()}
}

func (p *Echo) id() uint16 {
	if p.ID == 0 {
		return 1
	}
	return p.ID
}

// Ping sends an echo request and returns it. The sequence numbers are 1, 2, …
func (p *Echo) Ping(ctx context.Context, payload []byte) (packet.Packet, error) {
	if !p.dst.IsValid() {
		return nil, fmt.Errorf("ping from %v: the destination is not known", p.src)
	}
	p.seq++
	p.sent = packet.Echo(p.src, p.dst, p.id(), p.seq, payload)
	return sendOne(ctx, p.sender, slices.Clone(p.sent))
}

// ExpectReply takes the next echo message to the peer, which must be the reply to its last request, with the same identifier
// and sequence number and with this payload (nil: any). An ICMP error about the request is an error at once, as in UDP.Expect.
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

// ExpectRequest takes the next echo message to the peer, which must be a request with this payload (nil: any).
func (p *Echo) ExpectRequest(ctx context.Context, payload []byte) (packet.Packet, error) {
	m := p.match(8, 128)
	m.Payload = payload
	got, err := expectNext(ctx, p.inbox, fmt.Sprintf("no such echo request to %v", p.src), p.mine, p.isRefused, m)
	if err == nil {
		p.request = got
	}
	return got, err
}

// Reply replies to the last request that was taken, and returns the reply.
func (p *Echo) Reply(ctx context.Context) (packet.Packet, error) {
	if p.request == nil {
		return nil, fmt.Errorf("reply from %v: no request was taken", p.src)
	}
	t := p.request.Tuple()
	p.sent = packet.EchoReply(t.Dst.Addr(), t.Src.Addr(), t.ICMP.ID, echoSeq(p.request), p.request.Data())
	return sendOne(ctx, p.sender, slices.Clone(p.sent))
}

// ExpectNothing fails if an echo message to the peer is unread after the host has processed everything sent to it.
func (p *Echo) ExpectNothing(ctx context.Context) error {
	if err := p.inbox.checkLink(p.link); err != nil {
		return err
	}
	return p.inbox.expectNone(ctx, fmt.Sprintf("no echo to %v was expected", p.src), []packet.Match{p.match(0, 129), p.match(8, 128)}, p.mine)
}

func (p *Echo) match(type4, type6 uint8) packet.Match {
	proto, typ := nf.ICMP, type4
	if p.src.Is6() {
		proto, typ = nf.ICMPv6, type6
	}
	return packet.Match{Out: p.link, Proto: proto, Dst: netip.AddrPortFrom(p.src, 0), ICMPType: &typ}
}

// mine reports whether a packet is an echo message to the peer.
func (p *Echo) mine(r packet.Record) bool {
	t := r.Packet.Tuple()
	if r.Link != p.link || t.Dst.Addr() != p.src {
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
	return r.Link == p.link && isRefused(r.Packet, p.sent)
}

// echoSeq returns the sequence number of an echo message.
func echoSeq(p packet.Packet) uint16 {
	h := header.Parse(p).Body(p)
	if len(h) < header.ICMPSize {
		return 0
	}
	return binary.BigEndian.Uint16(h[6:])
}
