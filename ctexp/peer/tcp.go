package peer

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/ctexp/go-ctexp/ctexp/nf"
	"github.com/ctexp/go-ctexp/ctexp/packet"
)

// TCP is an end of a TCP connection that a test plays: a client, a server, or one that breaks the rules. It follows the
// sequence numbers, the timestamps and the negotiated options, and never sends by itself.
//
// Its fields are set before the first segment; options whose field is zero are not offered. It is not safe for concurrent
// use.
type TCP struct {
	// ISN is the initial sequence number; 0 means 1,000,000, or 5,000,000 for a peer created without a destination.
	ISN uint32
	// Window is the window as in the header; 0 means 65535. For a closed window see Segment.Window.
	Window uint16
	// MSS is the maximum segment size in the peer's SYN; 0 means no such option.
	MSS uint16
	// Scale is the window scale in the peer's SYN; nil means no such option.
	Scale *uint8
	// SACK adds the SACK-permitted option to the peer's SYN.
	SACK bool
	// Timestamps adds the timestamps option to the peer's SYN and, if both ends offer it, to its other segments.
	Timestamps bool
	// PassRetransmitted makes ExpectNothing pass over every retransmission. It is for a peer that does not acknowledge, on
	// purpose, what a socket of the host then sends again after 200 ms or later.
	PassRetransmitted bool

	sender Sender
	link   string
	inbox  *Inbox
	flow   packet.Flow
	isn    uint32 // if ISN is 0

	next  uint32   // the next sequence number to send, relative
	acked uint32   // acknowledged by the other end, relative
	last  *Segment // the last one that occupies sequence numbers
	clock uint32   // of the timestamps

	gotSYN     bool // the other end's SYN was received, so that learnt.ISN is known
	learnt     Learnt
	window     uint32          // announced by the other end, in bytes
	expected   uint32          // the next sequence number to receive, relative
	told       uint32          // the last acknowledgement sent, relative
	passed     []packet.Record // retransmissions that expectations have passed over
	outOfOrder []span          // received after a gap
	closed     bool            // the other end's FIN was received
	finished   bool            // the peer's own FIN was sent
	recent     uint32          // the last timestamp received
	rest       []byte          // read but not yet returned by Read
}

// Learnt is what a TCP has learnt from the segments of the other end.
type Learnt struct {
	// ISN is the initial sequence number.
	ISN uint32
	// MSS is the maximum segment size in the SYN; 0 if it had no such option.
	MSS uint16
	// Scale is the window scale in the SYN; see HasScale.
	Scale uint8
	// HasScale reports that the SYN had the window scale option.
	HasScale bool
	// SACK reports that the SYN had the SACK-permitted option.
	SACK bool
	// Timestamps reports that the SYN had the timestamps option.
	Timestamps bool
	// Window is the window of the last segment as in the header.
	Window uint16
}

// NewTCP returns a peer that sends through sender, and reads from the inbox what the host sends on the link of that name. The
// source of flow is the peer's own address. A server may leave the destination zero: it is then the source of the first
// segment that arrives, after any NAT.
func NewTCP(sender Sender, link string, inbox *Inbox, flow packet.Flow) *TCP {
	if sender == nil || inbox == nil {
		panic("peer: NewTCP without Sender or Inbox")
	}
	p := &TCP{sender: sender, link: link, inbox: inbox, flow: checkedFlow("NewTCP", flow), isn: 1_000_000}
	if !p.flow.Dst.Addr().IsValid() { // so that the numbers of client and server differ
		p.isn = 5_000_000
	}
	return p
}

// checkedFlow panics if the flow's source is incomplete or its addresses differ in family.
func checkedFlow(who string, f packet.Flow) packet.Flow {
	f.Src, f.Dst = unmapped(f.Src), unmapped(f.Dst)
	switch {
	case !f.Src.Addr().IsValid() || f.Src.Port() == 0:
		panic(fmt.Sprintf("peer: %s: source %v: want address and port", who, f.Src))
	case f.Dst.Addr().IsValid() && f.Dst.Addr().Is4() != f.Src.Addr().Is4():
		panic(fmt.Sprintf("peer: %s: %v: one is IPv4, one IPv6", who, f))
	}
	return f
}

func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// Flow returns the flow of the peer's segments, with the destination once it is known.
func (p *TCP) Flow() packet.Flow { return p.flow }

// Learnt returns what is known about the other end.
func (p *TCP) Learnt() Learnt { return p.learnt }

// Next returns the next sequence number that the peer will send, relative to its ISN.
func (p *TCP) Next() uint32 { return p.next }

// Expected returns the next sequence number that the peer expects, relative to the other end's ISN.
func (p *TCP) Expected() uint32 { return p.expected }

// PassedOver returns the retransmissions that expectations of the peer have passed over so far, in their order, with the
// bytes as they came. How many there are depends on timers and scheduling.
func (p *TCP) PassedOver() []packet.Record { return slices.Clone(p.passed) }

// Reuse makes the peer forget the connection, so that a new one can use the same addresses and ports. The new ISN is beyond
// all sequence numbers that the old connection can have used.
func (p *TCP) Reuse() {
	const beyond = 1 << 20
	fresh := TCP{
		ISN: p.first() + p.next + beyond, Window: p.Window, MSS: p.MSS, Scale: p.Scale, SACK: p.SACK, Timestamps: p.Timestamps,
		PassRetransmitted: p.PassRetransmitted,
		sender:            p.sender, link: p.link, inbox: p.inbox, flow: p.flow, clock: p.clock + 1,
	}
	*p = fresh
}

// first returns the peer's initial sequence number.
func (p *TCP) first() uint32 {
	if p.ISN == 0 {
		return p.isn
	}
	return p.ISN
}

// Packet returns the packet that Send would send, without sending it: for a test that changes it, keeps it for later, or
// injects it itself. The peer does not count it as sent.
func (p *TCP) Packet(s Segment) packet.Packet {
	flags := s.flags()
	seg := packet.TCP{Flags: flags, Seq: p.first() + p.next, Window: p.Window, Options: s.Options, Payload: s.Payload}
	if s.Seq != nil {
		seg.Seq = p.first() + *s.Seq
	}
	switch {
	case s.Ack != nil:
		seg.Ack = p.learnt.ISN + *s.Ack
	case flags.Contains(packet.FlagACK):
		seg.Ack = p.learnt.ISN + p.expected
	}
	if s.Options == nil {
		seg.Options = p.options(flags)
	}
	if s.Window != nil {
		seg.Window = *s.Window
	}
	pkt := p.flow.TCP(seg)
	if s.Window != nil && *s.Window == 0 {
		return pkt.With(packet.Window(0))
	}
	return pkt
}

// options returns the options of a segment: in a SYN those that the peer offers, in a SYN+ACK those that both offer.
func (p *TCP) options(f packet.TCPFlags) []packet.TCPOption {
	var out []packet.TCPOption
	if f.Contains(packet.FlagSYN) {
		answer := f.Contains(packet.FlagACK) && p.gotSYN
		if p.MSS != 0 {
			out = append(out, packet.MSS(p.MSS))
		}
		if p.SACK && (!answer || p.learnt.SACK) {
			out = append(out, packet.SACKPermitted())
		}
		if p.Timestamps && (!answer || p.learnt.Timestamps) {
			out = append(out, p.timestamps(answer))
		}
		if p.Scale != nil && (!answer || p.learnt.HasScale) {
			out = append(out, packet.WindowScale(*p.Scale))
		}
		return out
	}
	if p.Timestamps && p.learnt.Timestamps && !f.Contains(packet.FlagRST) {
		out = append(out, packet.NOP(), packet.NOP(), p.timestamps(f.Contains(packet.FlagACK)))
	}
	return out
}

func (p *TCP) timestamps(echo bool) packet.TCPOption {
	const base = 1_000_000
	if !echo {
		return packet.Timestamps(base+p.clock, 0)
	}
	return packet.Timestamps(base+p.clock, p.recent)
}

// segment returns the segment in a packet of the peer's flow; false if it is not one, or if its header claims too many bytes.
func (p *TCP) segment(r packet.Record) (seg packet.TCP, ok bool) {
	if r.Link != p.link || !isAnswer(p.flow, r.Packet.Tuple()) {
		return seg, false
	}
	seg, ok = r.Packet.TCP()
	return seg, ok && seg.Payload != nil
}

// isAnswer reports whether t is of the reply direction of f. A zero address or port of f.Dst matches any.
func isAnswer(f packet.Flow, t nf.Tuple) bool {
	return t.Dst == f.Src &&
		(!f.Dst.Addr().IsValid() || f.Dst.Addr() == t.Src.Addr()) &&
		(f.Dst.Port() == 0 || f.Dst.Port() == t.Src.Port())
}

// Send sends a segment and returns it. A segment that begins at the peer's next sequence number advances it; another one,
// such as an old segment or one out of the window, does not.
func (p *TCP) Send(ctx context.Context, s Segment) (packet.Packet, error) {
	if !p.flow.Dst.Addr().IsValid() || p.flow.Dst.Port() == 0 {
		return nil, fmt.Errorf("send from %v: the destination is not known yet", p.flow.Src)
	}
	pkt := p.Packet(s)
	if seg, ok := pkt.TCP(); ok && seg.Flags.Contains(packet.FlagACK) && p.gotSYN && isAfter(seg.Ack-p.learnt.ISN, p.told) {
		p.told = seg.Ack - p.learnt.ISN
	}
	p.clock++
	out := []packet.Packet{pkt}
	if s.As != nil {
		out = s.As(slices.Clone(pkt))
	}
	if s.Seq == nil || *s.Seq == p.next {
		if n := s.space(); n > 0 {
			again := s
			again.Seq, again.Flags, again.As = new(p.next), s.flags(), nil
			p.last = &again
			p.next += n
			p.finished = p.finished || again.Flags.Contains(packet.FlagFIN)
		}
	}
	_, err := p.sender.Send(ctx, packet.Packets(out...))
	return pkt, err
}

// Write sends data in segments of at most the other end's MSS, without waiting for acknowledgements.
func (p *TCP) Write(ctx context.Context, data []byte) error {
	const defaultMSS = 536 // RFC 9293, 3.7.1; IPv6 would allow more
	size := int(p.learnt.MSS)
	if size == 0 {
		size = defaultMSS
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

// Ack acknowledges everything taken so far.
func (p *TCP) Ack(ctx context.Context) error { return p.send(ctx, Segment{}) }

// Fin closes the peer's direction; the other direction stays open.
func (p *TCP) Fin(ctx context.Context) error {
	return p.send(ctx, Segment{Flags: packet.FlagFIN | packet.FlagACK})
}

// Retransmit sends the last segment with data, SYN or FIN again, with the current acknowledgement and timestamps.
func (p *TCP) Retransmit(ctx context.Context) error {
	if p.last == nil {
		return errors.New("retransmit: nothing was sent yet")
	}
	return p.send(ctx, *p.last)
}

// ResetKind is the position of a reset's sequence number in the other end's window.
type ResetKind uint8

const (
	ResetExact       ResetKind = iota // the next sequence number, which closes the connection
	ResetInWindow                     // in the middle of the window
	ResetOutOfWindow                  // far beyond the window
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
func (p *TCP) Reset(ctx context.Context, kind ResetKind) error {
	seq := p.next
	switch kind {
	default:
		panic(fmt.Sprintf("peer: Reset: there is no %v", kind))
	case ResetExact:
	case ResetInWindow:
		if p.window < 2 {
			return fmt.Errorf("reset: the window of the other end is %d: it has no inside", p.window)
		}
		seq += p.window / 2
	case ResetOutOfWindow:
		seq += 2*p.window + 1<<16
	}
	return p.send(ctx, Segment{Flags: packet.FlagRST, Seq: &seq})
}

// scale returns the shift of the windows that the other end announces.
func (p *TCP) scale() uint8 {
	if p.Scale == nil || !p.learnt.HasScale {
		return 0
	}
	return min(p.learnt.Scale, 14) // RFC 7323, 2.3
}

func (p *TCP) send(ctx context.Context, s Segment) error {
	_, err := p.Send(ctx, s)
	return err
}

// checkNew returns an error if the peer has already begun a connection.
func (p *TCP) checkNew() error {
	switch {
	case p.gotSYN && p.next > 0:
		return fmt.Errorf("%v is already connected; call Reuse first", p.flow)
	case p.gotSYN:
		return fmt.Errorf("%v has already received a SYN; call Reuse first", p.flow)
	case p.next > 0:
		return fmt.Errorf("%v has already sent a SYN; call Reuse first", p.flow)
	}
	return nil
}

// Connect opens a connection: it sends a SYN, expects the SYN+ACK, and sends an ACK. Like Accept and SimultaneousOpen, it
// fails if the peer already had a connection; call Reuse first.
func (p *TCP) Connect(ctx context.Context) error {
	if err := p.checkNew(); err != nil {
		return err
	}
	if err := p.send(ctx, Segment{Flags: packet.FlagSYN}); err != nil {
		return err
	}
	if _, err := p.Expect(ctx, Segment{Flags: packet.FlagSYN | packet.FlagACK, Ack: new(p.next)}); err != nil {
		return err
	}
	return p.Ack(ctx)
}

// Accept accepts a connection: it expects a SYN, sends a SYN+ACK, and expects the ACK. If the peer's flow has no destination,
// it is set to the source of the SYN, after any NAT.
func (p *TCP) Accept(ctx context.Context) error {
	if err := p.checkNew(); err != nil {
		return err
	}
	if _, err := p.Expect(ctx, Segment{Flags: packet.FlagSYN}); err != nil {
		return err
	}
	if err := p.send(ctx, Segment{Flags: packet.FlagSYN | packet.FlagACK}); err != nil {
		return err
	}
	return p.ExpectAck(ctx)
}

// SimultaneousOpen opens a connection from both ends at once: it expects a SYN, sends one without an acknowledgement, expects
// the SYN+ACK, and sends an ACK.
func (p *TCP) SimultaneousOpen(ctx context.Context) error {
	if err := p.checkNew(); err != nil {
		return err
	}
	if _, err := p.Expect(ctx, Segment{Flags: packet.FlagSYN}); err != nil {
		return err
	}
	if err := p.send(ctx, Segment{Flags: packet.FlagSYN}); err != nil {
		return err
	}
	again := Segment{Flags: packet.FlagSYN | packet.FlagACK, Seq: new(uint32(0)), Ack: new(p.next)}
	if _, err := p.Expect(ctx, again); err != nil {
		return err
	}
	return p.Ack(ctx)
}

// Close closes the connection: it sends a FIN, expects and acknowledges the FIN of the other end unless that was taken before,
// and waits until its own is acknowledged. The other end must answer by itself, such as a socket of the host or a script in
// another goroutine; for two peers in one goroutine use Teardown.
func (p *TCP) Close(ctx context.Context) error {
	if err := p.Fin(ctx); err != nil {
		return err
	}
	if !p.closed {
		if _, err := p.Expect(ctx, Segment{Flags: packet.FlagFIN | packet.FlagACK}); err != nil {
			return err
		}
		if err := p.Ack(ctx); err != nil {
			return err
		}
	}
	return p.ExpectAck(ctx)
}

// Read returns the next n bytes, in segments of any size, each of which it acknowledges; with n < 0 all bytes until the other
// end closes its direction.
func (p *TCP) Read(ctx context.Context, n int) ([]byte, error) {
	for n < 0 && !p.closed || len(p.rest) < n {
		if p.closed {
			return p.rest, fmt.Errorf("read: %d of %d bytes, then the other end has closed", len(p.rest), n)
		}
		before := p.expected
		pkt, err := p.Expect(ctx, Segment{})
		if err != nil && n > 0 {
			err = fmt.Errorf("read: %d of %d bytes, then: %w", len(p.rest), n, err)
		}
		if err != nil {
			return p.rest, err
		}
		seg, _ := pkt.TCP()
		s := p.relative(seg)
		switch {
		case s.Flags.Contains(packet.FlagRST):
			return p.rest, fmt.Errorf("read: %d bytes, then a reset: %v", len(p.rest), pkt)
		case isAfter(s.Seq, before) && space(s.Flags, len(s.Payload)) > 0:
			return p.rest, fmt.Errorf("read: %d bytes, then a gap of %d", len(p.rest), s.Seq-before)
		case p.expected == before:
			continue // an acknowledgement
		}
		p.rest = append(p.rest, s.Payload[min(int(before-s.Seq), len(s.Payload)):]...)
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
