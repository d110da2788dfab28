package inject

import (
	"context"
	"fmt"
	"slices"
)

// isNew fails if the peer has begun a connection.
func (p *TCPPeer) isNew() error {
	switch {
	case p.heard && p.next > 0:
		return fmt.Errorf("%v is already connected; Reuse begins anew", p.flow)
	case p.heard:
		return fmt.Errorf("%v has already taken a SYN; Reuse begins anew", p.flow)
	case p.next > 0:
		return fmt.Errorf("%v has already sent a SYN; Reuse begins anew", p.flow)
	}
	return nil
}

// Connect opens a connection: SYN, the SYN+ACK is expected, ACK. A peer that has had one needs Reuse before, here and where
// else a connection is opened.
func (p *TCPPeer) Connect(ctx context.Context) error {
	if err := p.isNew(); err != nil {
		return err
	}
	if err := p.send(ctx, Segment{Flags: FlagSYN}); err != nil {
		return err
	}
	if _, err := p.Expect(ctx, Segment{Flags: FlagSYN | FlagACK, Ack: new(p.next)}); err != nil {
		return err
	}
	return p.Ack(ctx)
}

// Accept lets somebody connect: a SYN is expected, SYN+ACK, the ACK is expected. The peer's flow is then as that of who
// came looks here, behind any NAT.
func (p *TCPPeer) Accept(ctx context.Context) error {
	if err := p.isNew(); err != nil {
		return err
	}
	if _, err := p.Expect(ctx, Segment{Flags: FlagSYN}); err != nil {
		return err
	}
	if err := p.send(ctx, Segment{Flags: FlagSYN | FlagACK}); err != nil {
		return err
	}
	return p.ExpectAck(ctx)
}

// SimultaneousOpen expects a SYN and answers with one of its own that acknowledges nothing, as if both had been under way
// at once; then the SYN+ACK is expected, ACK.
func (p *TCPPeer) SimultaneousOpen(ctx context.Context) error {
	if err := p.isNew(); err != nil {
		return err
	}
	if _, err := p.Expect(ctx, Segment{Flags: FlagSYN}); err != nil {
		return err
	}
	if err := p.send(ctx, Segment{Flags: FlagSYN}); err != nil {
		return err
	}
	again := Segment{Flags: FlagSYN | FlagACK, Seq: new(uint32(0)), Ack: new(p.next)}
	if _, err := p.Expect(ctx, again); err != nil {
		return err
	}
	return p.Ack(ctx)
}

// Close closes the connection: FIN, and unless that of the other end was taken before it is expected and acknowledged; the
// peer's own is expected to be acknowledged. That takes another end that answers by itself, such as a socket of the host or a
// script in another goroutine: for two peers in one there is Teardown.
func (p *TCPPeer) Close(ctx context.Context) error {
	if err := p.Fin(ctx); err != nil {
		return err
	}
	if !p.closed {
		if _, err := p.Expect(ctx, Segment{Flags: FlagFIN | FlagACK}); err != nil {
			return err
		}
		if err := p.Ack(ctx); err != nil {
			return err
		}
	}
	return p.ExpectAck(ctx)
}

// Read returns the next n bytes that come, in segments of whatever size, and acknowledges each of these; with n < 0 all until
// the other end closes its direction.
func (p *TCPPeer) Read(ctx context.Context, n int) ([]byte, error) {
	for n < 0 && !p.closed || len(p.rest) < n {
		if p.closed {
			return p.rest, fmt.Errorf("read: %d of %d bytes, then the other end has closed", len(p.rest), n)
		}
		before := p.expected
		packet, err := p.Expect(ctx, Segment{})
		if err != nil && n > 0 {
			err = fmt.Errorf("read: %d of %d bytes, then: %w", len(p.rest), n, err)
		}
		if err != nil {
			return p.rest, err
		}
		d := dissect(packet)
		s := p.relative(*d.tcp)
		switch {
		case s.flags.Contains(FlagRST):
			return p.rest, fmt.Errorf("read: %d bytes, then a reset: %v", len(p.rest), packet)
		case isAfter(s.seq, before) && space(s.flags, len(d.data)) > 0:
			return p.rest, fmt.Errorf("read: %d bytes, then a gap of %d", len(p.rest), s.seq-before)
		case p.expected == before:
			continue // an acknowledgement
		}
		p.rest = append(p.rest, d.data[min(int(before-s.seq), len(d.data)):]...)
		if err := p.Ack(ctx); err != nil {
			return p.rest, err
		}
	}
	if n < 0 {
		n = len(p.rest)
	}
	out := slices.Clone(p.rest[:n])
	p.rest = p.rest[n:]
	return out, nil
}
