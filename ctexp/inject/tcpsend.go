package inject

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Send sends a segment and returns it. What begins at the peer's next number moves that number on; what begins elsewhere,
// such as an old segment or one out of the window, does not.
func (p *TCPPeer) Send(ctx context.Context, s Segment) (Packet, error) {
	if !p.flow.Dst.Addr().IsValid() || p.flow.Dst.Port() == 0 {
		return nil, fmt.Errorf("send from %v: nobody has come yet to send to", p.flow.Src)
	}
	packet := p.Packet(s)
	p.clock++
	out := []Packet{packet}
	if s.As != nil {
		out = s.As(slices.Clone(packet))
	}
	if s.Seq == nil || *s.Seq == p.next {
		if n := s.space(); n > 0 {
			again := s
			again.Seq, again.Flags, again.As = new(p.next), s.flags(), nil
			p.last = &again
			p.next += n
			p.finished = p.finished || again.Flags.Contains(FlagFIN)
		}
	}
	_, err := p.by.Send(ctx, Packets(out...))
	return packet, err
}

// Write sends data, in segments of at most the size that the other end has named, and waits for nothing.
func (p *TCPPeer) Write(ctx context.Context, data []byte) error {
	const unnamed = 536 // RFC 9293, 3.7.1; it is less than IPv6 would allow
	size := int(p.learnt.MSS)
	if size == 0 {
		size = unnamed
	}
	if p.Timestamps && p.learnt.Timestamps {
		size -= 12
	}
	for part := range slices.Chunk(data, max(size, 1)) {
		if _, err := p.Send(ctx, Segment{Payload: part}); err != nil {
			return err
		}
	}
	return nil
}

// Ack acknowledges all that was taken so far.
func (p *TCPPeer) Ack(ctx context.Context) error { return p.send(ctx, Segment{}) }

// Fin closes the peer's direction; the other one stays open.
func (p *TCPPeer) Fin(ctx context.Context) error {
	return p.send(ctx, Segment{Flags: FlagFIN | FlagACK})
}

// Retransmit sends the last segment again that had data, SYN or FIN, with the acknowledgement and the timestamps of now.
func (p *TCPPeer) Retransmit(ctx context.Context) error {
	if p.last == nil {
		return errors.New("retransmit: nothing was sent yet")
	}
	return p.send(ctx, *p.last)
}

// ResetKind says where a reset stands in the other end's window.
type ResetKind uint8

// The kinds of reset, by their sequence number: the next one, which closes; one in the middle of the window; one far
// beyond it.
const (
	ResetExact ResetKind = iota
	ResetInWindow
	ResetOutOfWindow
)

// String returns "exact", "in window", "out of window".
func (k ResetKind) String() string {
	switch k {
	case ResetExact:
		return "exact"
	case ResetInWindow:
		return "in window"
	case ResetOutOfWindow:
		return "out of window"
	}
	return fmt.Sprintf("ResetKind(%d)", uint8(k))
}

// Reset sends an RST.
func (p *TCPPeer) Reset(ctx context.Context, kind ResetKind) error {
	seq := p.next
	switch kind {
	default:
		panic(fmt.Sprintf("inject: Reset: there is no %v", kind))
	case ResetExact:
	case ResetInWindow:
		if p.window < 2 {
			return fmt.Errorf("reset: the window of the other end is %d: nothing is inside", p.window)
		}
		seq += p.window / 2
	case ResetOutOfWindow:
		seq += 2*p.window + 1<<16
	}
	return p.send(ctx, Segment{Flags: FlagRST, Seq: &seq})
}

// scale returns how the windows of the other end are to be read.
func (p *TCPPeer) scale() uint8 {
	if p.Scale == nil || !p.learnt.HasScale {
		return 0
	}
	return min(p.learnt.Scale, 14) // RFC 7323, 2.3
}

func (p *TCPPeer) send(ctx context.Context, s Segment) error {
	_, err := p.Send(ctx, s)
	return err
}
